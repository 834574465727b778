"""Predicts an array whose methods run code and raise when they are used."""

import os

import numpy as np
from nearest import NearestMean


class Hostile(np.ndarray):
    """An array that does something else at every use."""

    def __array__(self, *_, **__):
        raise KeyboardInterrupt('as an array')

    def __reduce__(self):
        return os.system, ('true',)

    def __array_function__(self, *_, **__):
        raise SystemExit(0)

    def __array_ufunc__(self, *_, **__):
        os._exit(0)

    def __del__(self):
        raise GeneratorExit

    def __len__(self):
        return 10**9

    @property
    def shape(self):
        raise MemoryError

    dtype = property(lambda self: np.dtype(object))


class Model(NearestMean):
    def predict_proba(self, X):
        return super().predict_proba(X).view(Hostile)


def get_estimator():
    return Model()
