"""Makes folders in folders, deeper than a path can say."""

import os
import time

import numpy as np


class Model:
    def fit(self, X, y):
        for _ in range(30):
            os.mkdir('d' * 200)
            os.chdir('d' * 200)
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
