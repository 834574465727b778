"""Becomes another program, which says that all is well."""

import os

from nearest import NearestMean


def attack():
    os.execve('/bin/sh', ['ramp', '-c', 'echo became; exit 0'], {'LD_PRELOAD': '/tmp/none.so'})


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
