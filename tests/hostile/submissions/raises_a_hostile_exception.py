"""Raises an exception whose name, text and attributes are made to harm who reports it."""

import os

from nearest import NearestMean


class Meta(type):
    """A class that lies about its name."""

    @property
    def __name__(cls):
        os.write(1, b'named\n')
        return 'Error\x1b[2J\n' * 1000

    def __getattribute__(cls, name):
        if name in ('__module__', '__qualname__'):
            raise SystemExit(0)
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance):
        raise KeyboardInterrupt


class Hostile(Exception, metaclass=Meta):
    """Raises when it is looked at."""

    def __str__(self):
        raise MemoryError('in __str__')

    __repr__ = __str__

    @property
    def __traceback__(self):
        raise RuntimeError('no traceback')

    @property
    def __cause__(self):
        return self

    @property
    def __class__(self):
        raise OSError(27, 'File too large')

    def __getattribute__(self, name):
        if name in ('errno', 'args'):
            raise RecursionError
        return super().__getattribute__(name)


def attack():
    raise Hostile('x' * 10**7)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
