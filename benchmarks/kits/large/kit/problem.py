"""A problem of any size: what a submission does with X is its own affair."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import rampwf as rw
from rampwf.utils.importing import import_module_from_source
from sklearn.model_selection import KFold

problem_title = "Large data, large predictions"
N_CLASSES, N_FOLDS = 10, 8
Predictions = rw.prediction_types.make_multiclass(label_names=list(range(N_CLASSES)))
score_types = [rw.score_types.Accuracy(name="acc")]  # others have copies of their own


class Workflow:
    """Hand the data to the submission as they are, without a copy."""

    element_names = ["submission"]

    def train_submission(self, module_path, X, y, train_is):
        module = import_module_from_source(str(Path(module_path, "submission.py")), "submission")
        module.train(X, y, train_is)
        return module

    def test_submission(self, module, X):
        return module.predict(X)


workflow = Workflow()


def get_cv(X, y):
    return KFold(N_FOLDS).split(np.empty(len(y)))


def _read(path, part):
    sizes = json.loads(Path(path, "data", "sizes.json").read_text())
    n_rows, n_columns = sizes[part], sizes["columns"]
    generator = np.random.default_rng(len(part))
    X = generator.random((n_rows, n_columns))
    if sizes["frame"]:
        X = pd.DataFrame(X, columns=[f"x{column}" for column in range(n_columns)])
    return X, generator.integers(N_CLASSES, size=n_rows)


def get_train_data(path="."):
    return _read(path, "train")


def get_test_data(path="."):
    return _read(path, "test")
