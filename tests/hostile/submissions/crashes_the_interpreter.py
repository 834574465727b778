"""Reads where no memory is."""

import ctypes
import faulthandler

from nearest import NearestMean


def attack():
    faulthandler.disable()
    ctypes.string_at(1)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
