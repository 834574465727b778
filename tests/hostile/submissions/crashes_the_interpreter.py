"""Reads where no memory is."""

import ctypes
import faulthandler

from sklearn.tree import DecisionTreeClassifier


def attack():
    faulthandler.disable()
    ctypes.string_at(1)


class Model(DecisionTreeClassifier):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
