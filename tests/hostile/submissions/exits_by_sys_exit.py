"""Ends the interpreter as if all were well, while it trains."""

import sys

from nearest import NearestMean


def attack():
    sys.exit(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
