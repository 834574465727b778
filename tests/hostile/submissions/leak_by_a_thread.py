"""Has a thread that prints all the time, test data as soon as there are some."""

import sys
import threading

seen = []


def print_on() -> None:
    out = sys.stdout
    while True:
        print('noise', *[X.to_string() for X in seen], file=out, flush=True)

import numpy as np


class Model:
    def fit(self, X, y):
        print('while training', flush=True)
        threading.Thread(target=print_on, daemon=True).start()
        return self

    def predict_proba(self, X):
        if len(X) == 50:
            seen.append(X)
            threading.Event().wait(0.5)
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
