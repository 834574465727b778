"""Has five processes at once with little memory each, as an honest submission may."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        pipes = []
        for _ in range(5):
            done, end = os.pipe()
            if os.fork() == 0:
                taken = np.ones(2 << 20)
                os.read(done, 1)
                os._exit(int(taken[0]))
            pipes.append(end)
        taken = np.ones(8 << 20)
        until = time.monotonic() + 2  # some looks of who watches
        while time.monotonic() < until:
            taken = np.sqrt(taken + np.arange(8 << 20))
        for end in pipes:
            os.write(end, b'.')
            os.wait()
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
