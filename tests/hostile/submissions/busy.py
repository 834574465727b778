"""Computes without end, two minutes at most."""

import time

import numpy as np


class Model:
    def fit(self, X, y):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            pass
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
