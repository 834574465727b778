"""Starts threads on and on, 3000 at most, each of which would end after a minute."""

import threading
import time

import numpy as np


class Model:
    def fit(self, X, y):
        threading.stack_size(64 << 10)
        try:
            for _ in range(3000):
                threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        except RuntimeError:
            pass
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
