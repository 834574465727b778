"""Forks on and on, 300 processes at most, each of which would end after a minute."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        for _ in range(300):
            if os.fork() == 0:
                time.sleep(60)
                os._exit(0)
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
