"""Two outputs combined, a class and two numbers; a workflow of its own; X a sparse matrix."""

import os

import numpy as np
import rampwf as rw
from rampwf.score_types.combined import Combined
from rampwf.score_types.make_combined import MakeCombined
from rampwf.utils.importing import import_module_from_source
from scipy import sparse
from sklearn.model_selection import KFold

problem_title = "Molecule and concentration"
_labels = ["A", "B", "C"]
_Classes = rw.prediction_types.make_multiclass(label_names=_labels)
_Numbers = rw.prediction_types.make_regression(label_names=["mean", "spread"])
Predictions = rw.prediction_types.make_combined([_Classes, _Numbers])

_error = rw.score_types.ClassificationError(name="error", precision=4)
_rmse = rw.score_types.RMSE(name="rmse", precision=4)
score_types = [
    Combined(name="combined", score_types=[_error, _rmse], weights=[2 / 3, 1 / 3], precision=4),
    MakeCombined(score_type=_error, index=0),
    MakeCombined(score_type=_rmse, index=1),
]


class TwoModels:
    element_names = ["classifier", "regressor.py"]

    def train_submission(self, module_path, X, y, train_is=None):
        parts = [
            import_module_from_source(os.path.join(module_path, name), name[:-3])
            for name in ("classifier.py", "regressor.py")
        ]
        classifier, regressor = parts[0].get_classifier(), parts[1].get_regressor()
        classifier.fit(X[train_is], y[train_is, 0])
        regressor.fit(X[train_is], y[train_is, 1:].astype(float))
        return classifier, regressor

    def test_submission(self, trained_model, X):
        classifier, regressor = trained_model
        return np.concatenate([classifier.predict_proba(X), regressor.predict(X)], axis=1)


workflow = TwoModels()


def get_cv(X, y):
    return KFold(n_splits=3, shuffle=True, random_state=3).split(y)


def _read(path, name):
    with np.load(os.path.join(path, "data", name)) as data:
        labels = np.array([[_labels[index]] for index in data["classes"]], dtype=object)
        return sparse.csr_matrix(data["X"]), np.concatenate([labels, data["numbers"]], axis=1)


def get_train_data(path="."):
    return _read(path, "train.npz")


def get_test_data(path="."):
    return _read(path, "test.npz")
