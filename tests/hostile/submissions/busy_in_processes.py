"""Computes in one short process after the other, two minutes at most."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        until = time.monotonic() + 120
        while time.monotonic() < until:
            if os.fork() == 0:
                soon = time.process_time() + 0.1
                while time.process_time() < soon:
                    pass
                os._exit(0)
            os.wait()
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
