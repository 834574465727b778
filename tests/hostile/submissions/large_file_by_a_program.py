"""Has another program write one file of 1 GB, and goes on as if nothing had been."""

import io
import os

import numpy as np


class Model:
    def fit(self, X, y):
        with io.FileIO('large', 'w') as file:
            if os.fork() == 0:
                os.dup2(file.fileno(), 1)
                os.execvp('head', ['head', '-c', '1G', '/dev/zero'])
            os.wait()
        print('its file has', os.stat('large').st_size, 'bytes', flush=True)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
