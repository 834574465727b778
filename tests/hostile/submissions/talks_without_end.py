"""Writes to both outputs without end, binary and without a newline."""

import os

from nearest import NearestMean


def attack():
    written = 0
    while written < 300 << 20:
        written += os.write(1 + written % 2, bytes(range(128, 256)) * 512)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
