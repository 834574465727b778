"""Takes memory in one process, 2 GB at most."""

import numpy as np


class Model:
    def fit(self, X, y):
        taken = [np.ones(4 << 20) for _ in range(64)]
        assert taken
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
