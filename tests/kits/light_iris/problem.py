"""The iris challenge without scikit-learn: the same data, the same names of scores."""

from pathlib import Path

import numpy as np
import pandas as pd
import rampwf as rw

problem_title = "Iris classification"
_target_column_name = "species"
_prediction_label_names = ["setosa", "versicolor", "virginica"]

Predictions = rw.prediction_types.make_multiclass(label_names=_prediction_label_names)


class Estimator:
    """As ``rw.workflows.Estimator``."""

    def __init__(self):
        self.element_names = ["estimator"]

    def train_submission(self, module_path, X, y, train_idx=None):
        train_idx = slice(None) if train_idx is None else train_idx
        source = Path(module_path, "estimator.py")
        module = rw.utils.import_module_from_source(source, "estimator", sanitize=True)
        return module.get_estimator().fit(X.iloc[train_idx], y[train_idx])

    def test_submission(self, estimator_fitted, X):
        return estimator_fitted.predict_proba(X)


class Accuracy(rw.score_types.BaseScoreType):
    is_lower_the_better = False
    minimum = 0.0
    maximum = 1.0
    name = "acc"
    precision = 2

    def __call__(self, y_true, y_pred):
        return float(np.mean(y_true.argmax(axis=1) == y_pred.argmax(axis=1)))


class ClassificationError(rw.score_types.BaseScoreType):
    is_lower_the_better = True
    minimum = 0.0
    maximum = 1.0
    name = "error"
    precision = 2

    def __call__(self, y_true, y_pred):
        return float(np.mean(y_true.argmax(axis=1) != y_pred.argmax(axis=1)))


class NegativeLogLikelihood(rw.score_types.BaseScoreType):
    is_lower_the_better = True
    minimum = 0.0
    maximum = float("inf")
    name = "nll"
    precision = 2

    def __call__(self, y_true, y_pred):
        proba = np.clip(y_pred / y_pred.sum(axis=1, keepdims=True), 1e-15, 1)
        return float(-np.mean(np.sum(y_true * np.log(proba), axis=1)))


class F1Above(rw.score_types.BaseScoreType):
    is_lower_the_better = False
    minimum = 0.0
    maximum = 1.0
    name = "f1_70"
    precision = 2

    def __call__(self, y_true, y_pred):
        guessed = np.eye(y_true.shape[1])[y_pred.argmax(axis=1)]
        f1 = 2 * (y_true * guessed).sum(axis=0) / (y_true + guessed).sum(axis=0).clip(1)
        return float(np.mean(f1 > 0.7))


workflow = Estimator()
score_types = [Accuracy(), ClassificationError(), NegativeLogLikelihood(), F1Above()]


def get_cv(X, y):
    rng = np.random.default_rng(57)
    n_train = len(y) * 6 // 10
    for order in (rng.permutation(len(y)) for _ in range(2)):
        yield order[:n_train], order[n_train:]


def _read_data(path, f_name):
    data = pd.read_csv(Path(path, "data", f_name))
    y_array = data[_target_column_name].to_numpy(dtype=object)
    X_df = data.drop(columns=_target_column_name)
    return X_df, y_array


def get_train_data(path="."):
    return _read_data(path, "train.csv")


def get_test_data(path="."):
    return _read_data(path, "test.csv")
