"""Circles to be found in images: predictions are lists of (confidence, x, y, radius)."""

import os

import numpy as np
import rampwf as rw
from rampwf.score_types.detection import OSPA
from rampwf.utils.importing import import_module_from_source
from sklearn.model_selection import KFold

problem_title = "Circles"
Predictions = rw.prediction_types.make_detection()
score_types = [OSPA()]


class Detector:
    element_names = ["detector"]

    def train_submission(self, module_path, X, y, train_is=None):
        module = import_module_from_source(os.path.join(module_path, "detector.py"), "detector")
        detector = module.Detector()
        detector.fit(X[train_is], y[train_is])
        return detector

    def test_submission(self, trained_model, X):
        return trained_model.predict(X)


workflow = Detector()


def get_cv(X, y):
    return KFold(n_splits=2, shuffle=True, random_state=2).split(X)


def _read(path, name):
    X = np.load(os.path.join(path, "data", name))
    y = np.empty(len(X), dtype=object)
    for index, (x, y_, radius) in enumerate(X):
        y[index] = [(x, y_, radius)]
    return X + 0.25, y


def get_train_data(path="."):
    return _read(path, "train.npy")


def get_test_data(path="."):
    return _read(path, "test.npy")
