"""Folds bagged by a sum have the scores that ramp-workflow gives them, and take little memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rampwf.prediction_types import make_multiclass, make_regression
from rampwf.prediction_types.base import BasePrediction
from rampwf.score_types import RMSE, Accuracy, NegativeLogLikelihood

from ramp_engine.evaluation.bagging import KitBagging, MeanBagging, make_bagging
from ramp_engine.evaluation.fold_scores import FoldScorer
from ramp_engine.evaluation.ground_truth import GroundTruth
from ramp_engine.evaluation.truth import Truth

N_TRAIN, N_TEST = 60, 25
CLASSES = make_multiclass(["a", "b", "c"])
OF_CLASSES = [Accuracy(name="acc"), NegativeLogLikelihood(name="nll")]
OF_NUMBERS = [RMSE(name="rmse")]

ROWS = np.arange(N_TRAIN)
FOLDS = {
    "all rows once": [np.split(ROWS, [n, n + 20])[1] for n in (0, 20, 40)],
    "some rows twice, some never": [ROWS[:20], ROWS[10:30], ROWS[15:50:3], ROWS[3:5]],
    "rows drawn with repetitions": [np.array([3, 3, 9, 3]), np.array([9, 0, -1])],
    "masks": [ROWS % 3 == 0, ROWS % 3 == 1, ROWS < 10],
    "one row": [ROWS[:1], ROWS[1:2], ROWS[:1]],
}


class Saved(dict[str, Any]):
    """A kit's own ``save_submission``."""

    def __call__(self, y_pred: Any, _data: str, _output: str, suffix: str) -> None:
        self[suffix] = y_pred


def truth_of(kind: Any, y: Any, score_types: list[Any], folds: list[Any], data: Path) -> Truth:
    problem = SimpleNamespace(Predictions=kind, score_types=score_types, save_submission=Saved())
    pairs = [(np.setdiff1d(ROWS, ROWS[valid]), valid) for valid in folds]
    return Truth(problem, pairs, y(N_TRAIN), y(N_TEST), data)


def classes(n: int) -> Any:
    return np.random.default_rng(n).choice(["a", "b", "c"], size=n)


@pytest.mark.parametrize("folds", FOLDS)
@pytest.mark.parametrize(
    ("kind", "labels", "shape", "score_types"),
    [
        (CLASSES, classes, (3,), OF_CLASSES),
        (make_regression(), np.arange, (), OF_NUMBERS),
        (make_regression(["x", "y"]), lambda n: np.ones((n, 2)), (2,), OF_NUMBERS),
    ],
    ids=["classes", "a number", "numbers"],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_sum_that_is_carried_along_gives_the_scores_of_ramp_workflow(
    kind: Any, labels: Any, shape: Any, score_types: Any, folds: str, dtype: Any, tmp_path: Path
) -> None:
    truth = truth_of(kind, labels, score_types, FOLDS[folds], tmp_path)
    ours, theirs = make_bagging(truth, GroundTruth(truth)), KitBagging(truth)
    assert isinstance(ours, MeanBagging)
    written, saved = [], []
    for number, bagging in enumerate((ours, theirs)):
        random = np.random.default_rng(0)
        for _, valid in truth.folds:
            y_pred = random.normal(size=(N_TRAIN, *shape)).astype(dtype)
            bagging.add("valid", kind(y_pred=y_pred, fold_is=valid))
            y_pred = random.normal(size=(N_TEST, *shape)).astype(dtype)
            bagging.add("test", kind(y_pred=y_pred))
        output = tmp_path / str(number)
        output.mkdir()
        bagging.write(output)
        written.append((output / "bagged_scores.csv").read_text())
        saved.append(Saved(truth.problem.save_submission))
    assert written[0] == written[1]
    assert saved[0].keys() == saved[1].keys() == {"_bagged_valid", "_bagged_test"}
    for name, y_pred in saved[0].items():
        np.testing.assert_array_equal(y_pred, saved[1][name])


def test_kits_with_ways_of_their_own_are_left_to_ramp_workflow(tmp_path: Path) -> None:
    own = {
        "combine": classmethod(BasePrediction.combine.__func__.__call__),
        "set_slice": BasePrediction.set_valid_in_train,
        "valid_indexes": property(repr),
    }
    for name, way in own.items():
        kind = type("Own", (make_regression(),), {name: way})
        truth = truth_of(kind, np.arange, OF_NUMBERS, FOLDS["masks"], tmp_path)
        assert isinstance(make_bagging(truth, GroundTruth(truth)), KitBagging)


def test_labels_made_once_are_those_made_anew(tmp_path: Path) -> None:
    truth = truth_of(CLASSES, classes, OF_CLASSES, FOLDS["masks"], tmp_path)
    labels = GroundTruth(truth)
    for rows in (None, FOLDS["masks"][0], FOLDS["all rows once"][1]):
        chosen = {} if rows is None else {"fold_is": rows}
        made, anew = labels.rows("train", rows), CLASSES(y_true=truth.y_train, **chosen)
        np.testing.assert_array_equal(made.y_pred, anew.y_pred)
        made.y_pred[:] = 7  # the next one has its own
    assert labels.rows("train").y_pred.max() == 1


def test_scoring_holds_no_more_than_the_test_predictions_of_all_folds_and_one_fold_more(
    tmp_path: Path,
) -> None:
    n_rows, n_classes, n_folds = 80_000, 10, 8
    kind = make_regression(list(range(n_classes)))  # whose labels are made without a loop
    problem = SimpleNamespace(Predictions=kind, score_types=[RMSE(name="rmse")])
    rows = np.arange(n_rows)
    folds = [(rows[rows % n_folds != n], rows[rows % n_folds == n]) for n in range(n_folds)]
    y_pred = np.random.default_rng(0).random((n_rows, n_classes))
    truth = Truth(problem, folds, np.ones_like(y_pred), np.ones_like(y_pred), tmp_path)
    for number in range(n_folds):
        (tmp_path / f"fold_{number}").mkdir()
        for part in ("train", "test"):
            np.savez(tmp_path / f"fold_{number}" / f"y_pred_{part}.npz", y_pred=y_pred)
    tracemalloc.start()
    try:
        labels = GroundTruth(truth)
        bagging, scorer = make_bagging(truth, labels), FoldScorer(truth, labels)
        for number in range(n_folds):
            scorer.score(tmp_path / f"fold_{number}", number, combine=bagging.add)
        bagging.write(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < (n_folds + 2) * y_pred.nbytes
