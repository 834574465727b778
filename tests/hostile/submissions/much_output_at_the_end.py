"""Writes 200 MB and is done at once."""

from pathlib import Path

import numpy as np


class Model:
    def fit(self, X, y):
        for number in range(50):
            Path(f'part{number}').write_bytes(bytes(4 << 20))
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
