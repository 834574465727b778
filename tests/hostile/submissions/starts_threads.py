"""Starts three thousand threads."""

import threading
import time

from nearest import NearestMean


def attack():
    over = threading.Event()
    threading.stack_size(64 << 10)
    started = 0
    for _ in range(3000):
        try:
            threading.Thread(target=over.wait, daemon=True).start()
            started += 1
        except RuntimeError as error:
            print(started, repr(error), flush=True)
            break
    time.sleep(2)
    over.set()


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
