"""Stops itself, so that nothing ever comes of it."""

import os
import signal

from sklearn.tree import DecisionTreeClassifier


def attack():
    os.kill(os.getpid(), signal.SIGSTOP)


class Model(DecisionTreeClassifier):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
