"""Says that it has trained while it trains, on every descriptor that it finds."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        print('while training', flush=True)
        for number in range(3, 64):
            try:
                os.write(number, b'testing\n')
            except OSError:
                pass
        time.sleep(60)
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            print(X.to_string(), flush=True)
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
