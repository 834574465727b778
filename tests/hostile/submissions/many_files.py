"""Makes 1 500 empty files, each with five names: names count, and are made in no time."""

import os
import time
from pathlib import Path

import numpy as np


class Model:
    def fit(self, X, y):
        Path('many').mkdir()
        for number in range(1_500):
            Path(f'many/{number}').touch()
            for other in range(4):
                os.link(f'many/{number}', f'many/{number}_{other}')
        time.sleep(60)
        return self

    def predict_proba(self, X):
        return np.full((len(X), 3), 1 / 3)


def get_estimator():
    return Model()
