"""Raises what is no Exception, with a text of 50 MB and a chain of a thousand causes."""

from nearest import NearestMean


class Hostile(BaseException):
    """Nobody's subclass but BaseException's."""


def attack():
    error = None
    for number in range(1000):
        try:
            raise Hostile('\x00\ud800\x1b]0;owned\x07' * (10 if number else 5 << 20)) from error
        except Hostile as raised:
            error = raised
    raise error


class Model(NearestMean):
    def fit(self, X, y):
        attack()
        return super().fit(X, y)


def get_estimator():
    return Model()
