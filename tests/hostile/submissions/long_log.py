"""Prints 200 MB."""

import numpy as np


class Model:
    def fit(self, X, y):
        print('the beginning')
        for _ in range(200):
            print('x' * (1 << 20))
        print('the end', flush=True)
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            for _ in range(20):
                print('y' * (1 << 20))
            print('the private end', flush=True)
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
