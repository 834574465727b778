"""Ends its process by the exit code that stands for a fault of the platform."""

import os



class Model:
    def fit(self, X, y):
        os._exit(70)


def get_estimator():
    return Model()
