"""Predictions are stored in the kit's own format, and submitted as a table at the end."""

import os

import numpy as np
import pandas as pd
import rampwf as rw
from sklearn.model_selection import StratifiedKFold

problem_title = "A format of its own"
Predictions = rw.prediction_types.make_multiclass(label_names=[0, 1])
workflow = rw.workflows.Classifier()
score_types = [rw.score_types.ROCAUC(name="auc", precision=3), rw.score_types.Accuracy(name="acc")]


def get_cv(X, y):
    folds = StratifiedKFold(n_splits=2, shuffle=True, random_state=5).split(X, y)
    return [(train.tolist(), valid.tolist()) for train, valid in folds]


def _table(path, suffix):
    return pd.read_csv(os.path.join(path, "data", f"{suffix}.csv"))


def _read(path, suffix):
    data = _table(path, suffix)
    return data[["a", "b"]].to_numpy(), data["label"].to_numpy()


def get_train_data(path="."):
    return _read(path, "train")


def get_test_data(path="."):
    return _read(path, "test")


def save_y_pred(y_pred, data_path, output_path, suffix):
    ids = _table(data_path, suffix)["id"]
    frame = pd.DataFrame(y_pred, columns=["no", "yes"], index=ids)
    frame.to_csv(os.path.join(output_path, f"y_pred_{suffix}.csv"))


def load_y_pred(data_path, input_path, suffix):
    frame = pd.read_csv(os.path.join(input_path, f"y_pred_{suffix}.csv"), index_col="id")
    return frame.to_numpy()


def save_submission(y_pred, data_path, output_path, suffix):
    np.savetxt(os.path.join(output_path, f"submission{suffix}.txt"), y_pred)
