"""Recurses without a limit, in Python."""

import sys
import threading

from nearest import NearestMean


def deeper(depth):
    return deeper(depth + 1) + 1


def attack():
    sys.setrecursionlimit(10**9)
    threading.stack_size(1 << 20)
    deeper(0)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
