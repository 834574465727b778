"""Raises what is no text, by a class with a hostile name, while it predicts the test data."""

from nearest import NearestMean


class Model(NearestMean):
    def predict_proba(self, X):
        if len(X) == 50:
            kind = type('Error\x1b[2J\n' + X.to_string()[:200], (ValueError,), {})
            raise kind('\ud800\x00' + X.to_string())
        return super().predict_proba(X)


def get_estimator():
    return Model()
