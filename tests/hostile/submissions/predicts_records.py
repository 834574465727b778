"""Predicts an array of records and dates where probabilities are asked for."""

import numpy as np
from nearest import NearestMean


class Model(NearestMean):
    def predict_proba(self, X):
        kind = [('a', '<M8[s]'), ('b', '<f8', (2,))]
        return np.zeros((len(X), 3), dtype=kind)


def get_estimator():
    return Model()
