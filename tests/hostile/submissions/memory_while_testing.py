"""Takes memory while it predicts the test data, 2 GB at most."""

import numpy as np


class Model:
    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            taken = [np.ones(4 << 20) for _ in range(64)]
            assert taken
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
