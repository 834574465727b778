"""No test labels; X a list; a workflow whose test_submission is told the fold."""

import os

import numpy as np
import rampwf as rw
from rampwf.utils.importing import import_module_from_source

problem_title = "Bare"
Predictions = rw.prediction_types.make_regression()
score_types = [rw.score_types.RMSE(name="rmse")]


class Told:
    def train_submission(self, module_path, X, y, train_is=None):
        module = import_module_from_source(os.path.join(module_path, "mean.py"), "mean")
        return module.fit([X[index] for index in train_is], y[train_is])

    def test_submission(self, trained_model, X, fold):
        y_pred = np.full(len(X), np.nan)
        rows = np.arange(len(X)) if fold is None else np.concatenate(fold)
        y_pred[rows] = [trained_model * len(X[row]) for row in rows]
        return y_pred


workflow = Told()


def get_cv(X, y):
    for start in range(30):
        yield np.arange(start, start + 5), np.arange(start + 5, start + 8)


def _read(path, name):
    words = open(os.path.join(path, "data", name)).read().split()
    return [word.partition("=")[0] for word in words], [word.partition("=")[2] for word in words]


def get_train_data(path="."):
    X, y = _read(path, "train.txt")
    return X, np.array(y, dtype=float)


def get_test_data(path="."):
    return _read(path, "test.txt")[0], None
