"""X names files: a folder and names in it, or paths, relative or absolute; data/style.txt says."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import rampwf as rw
from rampwf.utils.importing import import_module_from_source

problem_title = "Files"
Predictions = rw.prediction_types.make_multiclass(label_names=["dark", "light"])
score_types = [
    rw.score_types.Accuracy(name="acc"),
    rw.score_types.NegativeLogLikelihood(name="nll"),
]


class FileClassifier:
    element_names = ["classifier"]

    def train_submission(self, module_path, X, y, train_is=None):
        module = import_module_from_source(os.path.join(module_path, "classifier.py"), "classifier")
        classifier = module.Classifier()
        paths = _paths(X)
        classifier.fit([paths[index] for index in train_is], y[train_is])
        return classifier

    def test_submission(self, trained_model, X):
        return trained_model.predict_proba(_paths(X))


workflow = FileClassifier()


def _paths(X):
    if isinstance(X, tuple):
        folder, names = X
        return [os.path.join(folder, f"{name}") for name in names]
    return list(X["path"]) if isinstance(X, pd.DataFrame) else list(X)


def get_cv(X, y):
    half = len(y) // 2
    yield np.arange(half), np.arange(half, len(y))
    yield np.arange(half, len(y)), np.arange(half)


def _read(path, name):
    style = Path(path, "data", "style.txt").read_text()
    table = pd.read_csv(os.path.join(path, "data", name))
    folder = os.path.join(path, "data", "images")
    y = table["label"].to_numpy(dtype=object)
    if style == "folder":
        return (folder, table["image"].to_numpy()), y
    paths = [os.path.join(folder, str(image)) for image in table["image"]]
    if style == "relative":
        return np.array(paths), y
    return pd.DataFrame({"path": [os.path.abspath(item) for item in paths], "n": 1}), y


def get_train_data(path="."):
    return _read(path, "train.csv")


def get_test_data(path="."):
    return _read(path, "test.csv")
