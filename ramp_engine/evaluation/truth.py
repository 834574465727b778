"""What predictions are held against; the predictions, checked when they are read. Trusted side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import numpy as np

from . import arrays, bundle
from .arrays import Expected, RefusedPredictionsError
from .failure import PredictionsError
from .kit import Fold, import_problem
from .untrusted_files import read_text


@dataclass(frozen=True)
class Truth:
    """What predictions are held against."""

    problem: Any  #: the problem
    folds: list[Fold]  #: indices of training and validation
    y_train: Any  #: labels of all training instances
    y_test: Any  #: labels of the test instances, or None
    data: Path  #: the data folder, for a kit's own ``save_y_pred``

    @property
    def steps(self) -> tuple[str, ...]:
        """The steps that are scored."""
        return ("train", "valid") if self.y_test is None else ("train", "valid", "test")


def load_truth(labels: Path, data: Path, kit: Optional[Path] = None) -> Truth:
    """Read what predictions are held against.

    Parameters
    ----------
    labels : Path
        The trusted part of a bundle.
    data : Path
        The data folder.
    kit : Path, optional
        Another folder to take ``problem.py`` from; the copy in `labels` by default.

    Raises
    ------
    KitError
        The bundle is damaged or does not go with this environment.
    """
    bundle.read_manifest(labels)
    problem = import_problem(kit or labels / "kit")
    return Truth(
        problem=problem,
        folds=bundle.load_folds(labels / "folds"),
        y_train=bundle.load(labels, "y_train", problem),
        y_test=bundle.load(labels, "y_test", problem),
        data=data,
    )


def read_predictions(truth: Truth, folder: Path, number: int, suffix: str) -> Any:
    """Read and check what the fold step has left of the ``train`` or the ``test`` data.

    Parameters
    ----------
    truth : Truth
        Tells the number of rows and columns.
    folder : Path
        The fold's folder; nothing in it is trusted.
    number : int
        The fold.
    suffix : str
        ``train`` or ``test``.

    Raises
    ------
    PredictionsError
        They are missing, are not plain data, have the wrong shape, or are NaN.
    """
    is_test = suffix == "test"
    labels = truth.y_test if is_test else truth.y_train
    expected = Expected(len(labels), n_columns(truth.problem.Predictions))
    try:
        array = arrays.read(folder, suffix, expected)
        _refuse_nan(array, None if is_test else truth.folds[number])
    except RefusedPredictionsError as error:
        state = "testing_error" if is_test else "validating_error"
        message = f"fold {number}, {'test' if is_test else 'training'} data: {error}"
        raise PredictionsError(state, message, number) from error
    return array


def _refuse_nan(array: Any, fold: Optional[Fold]) -> None:
    """Refuse NaN in the rows that count: a workflow that gets the fold may leave out others."""
    n_rows = arrays.count_nan(array)
    if n_rows and fold is not None:
        n_rows = arrays.count_nan(np.concatenate([array[fold[0]], array[fold[1]]]))
    if n_rows:
        raise RefusedPredictionsError(f"{n_rows} of the {len(array)} predictions are NaN")


def n_columns(predictions_type: Any) -> Optional[int]:
    """Return the number of columns of a type of predictions: 0 for a vector, None if unknown."""
    parts = getattr(predictions_type, "Predictions_list", None)
    if parts is None:
        columns = getattr(predictions_type, "n_columns", None)
        return columns if isinstance(columns, int) else None
    counts = [n_columns(part) for part in parts]
    return None if None in counts else sum(count or 0 for count in counts)


def read_times(truth: Truth, folder: Path) -> dict[str, float]:
    """Return the times that a fold has noted, by step [s]."""
    return {step: _seconds(folder, step) for step in truth.steps}


def _seconds(folder: Path, step: str) -> float:
    """Return a time that the fold has noted; 0.0 where it has not, since nothing hangs on it."""
    try:
        seconds = float(read_text(folder, f"{step}_time"))
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0
