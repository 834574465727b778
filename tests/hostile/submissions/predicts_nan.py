"""Predicts NaN, and infinities."""

import numpy as np
from nearest import NearestMean


class Model(NearestMean):
    def predict_proba(self, X):
        y_pred = super().predict_proba(X)
        y_pred[::2] = np.nan
        y_pred[1::4] = np.inf
        return y_pred


def get_estimator():
    return Model()
