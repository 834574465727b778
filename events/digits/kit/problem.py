"""The digits challenge: read handwritten digits, images of 8 by 8 grey values."""

import os

import numpy as np
import rampwf as rw
from sklearn.model_selection import StratifiedKFold

problem_title = "Handwritten digits"

Predictions = rw.prediction_types.make_multiclass(label_names=list(range(10)))
workflow = rw.workflows.Estimator()

score_types = [
    rw.score_types.Accuracy(name="acc", precision=3),
    rw.score_types.NegativeLogLikelihood(name="nll", precision=3),
]


def get_cv(X, y):
    cv = StratifiedKFold(n_splits=8, shuffle=True, random_state=57)
    return cv.split(X, y)


def _read_data(path, f_name):
    """Return images, shape (n, 8, 8) with values from 0 to 16, and labels, shape (n,)."""
    with np.load(os.path.join(path, "data", f_name)) as data:
        return data["images"], data["labels"]


def get_train_data(path="."):
    return _read_data(path, "train.npz")


def get_test_data(path="."):
    return _read_data(path, "test.npz")
