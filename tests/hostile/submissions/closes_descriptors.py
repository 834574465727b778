"""Closes all descriptors that are not its own, as a daemon does."""

import os

import numpy as np


class Model:
    def fit(self, X, y):
        print('while training', flush=True)
        os.closerange(3, 256)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
