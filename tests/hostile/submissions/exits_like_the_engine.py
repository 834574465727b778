"""Ends its process with each exit code that the engine gives a meaning, by the fold."""

import os

from nearest import NearestMean


def attack():
    for name in ('error.txt', 'state.txt'):
        print(name, flush=True)
    os._exit(71)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
