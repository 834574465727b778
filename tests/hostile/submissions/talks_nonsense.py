"""Writes nonsense into every descriptor that it finds."""

import os

import numpy as np


class Model:
    def fit(self, X, y):
        print('while training', flush=True)
        for number in range(3, 64):
            try:
                os.set_blocking(number, False)
                for _ in range(100):
                    os.write(number, b'{"error": 1' * 1000)
            except OSError:
                pass
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            print(X.to_string(), flush=True)
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
