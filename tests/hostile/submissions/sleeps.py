"""Sleeps while it trains."""

import time

import numpy as np


class Model:
    def fit(self, X, y):
        time.sleep(120)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
