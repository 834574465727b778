"""Hides 200 MB in a folder that nobody may read."""

import os
import time
from pathlib import Path

import numpy as np


class Model:
    def fit(self, X, y):
        Path('hidden').mkdir()
        for number in range(50):
            Path(f'hidden/part{number}').write_bytes(bytes(4 << 20))
        os.chmod('hidden', 0)
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
