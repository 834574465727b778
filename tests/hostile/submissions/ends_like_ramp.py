"""Ends its process by the exit code that stands for a fault of the platform."""

import os

from sklearn.base import BaseEstimator, ClassifierMixin


class Model(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        os._exit(70)


def get_estimator():
    return Model()
