"""Stops itself, so that nothing ever comes of it."""

import os
import signal

from nearest import NearestMean


def attack():
    os.kill(os.getpid(), signal.SIGSTOP)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
