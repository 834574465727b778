"""Takes memory in ten processes, 2 GB at most, none of them much."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        for _ in range(10):
            if os.fork() == 0:
                taken = np.ones(25 << 20)
                time.sleep(60)
                os._exit(int(taken[0]))
        for _ in range(10):
            os.wait()
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
