"""Recurses until the stack of C is used up."""

import sys

from nearest import NearestMean


def attack():
    sys.setrecursionlimit(10**9)
    nested = []
    for _ in range(10**6):
        nested = [nested]
    repr(nested)
    hash_of = ()
    for _ in range(10**6):
        hash_of = (hash_of,)
    hash(hash_of)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
