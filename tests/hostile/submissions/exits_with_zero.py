"""Ends its process as if all were well, while it trains."""

import os

from nearest import NearestMean


def attack():
    os._exit(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
