"""Predicts more rows than it was asked for, of the test data only."""

import numpy as np
from nearest import NearestMean


class Model(NearestMean):
    def predict_proba(self, X):
        y_pred = super().predict_proba(X)
        return np.concatenate([y_pred] * 3) if len(X) == 50 else y_pred


def get_estimator():
    return Model()
