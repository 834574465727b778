"""Prints and raises what is no UTF-8, and what terminals obey."""

import os

from nearest import NearestMean


def attack():
    os.write(1, b'\xff\xfe\xed\xa0\x80\x00\n')
    os.write(2, b'\x1b]0;owned\x07\x1b[2J\x1b[1;1H\x1b[8mhidden\x1bP+q544e\x1b\\\n')
    os.write(1, '\U0010ffff'.encode('utf-16'))
    message = '\ud800\x00\x1b[2J\x1b]0;owned\x07\x9b31m\r\u202e\u2028 caf\xe9'
    raise ValueError(message)


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
