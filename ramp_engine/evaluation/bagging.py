"""The folds of a submission combined, and scored after each of them. Trusted side.

The scores are those of ``bag_submissions`` of ramp-workflow. That holds the predictions of all
folds several times over. Where a kit combines by taking the mean, a sum is carried along instead,
and a fold's predictions can go once they are added; other kits' are left to ramp-workflow.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional, Protocol

import numpy as np
import pandas as pd
from rampwf.prediction_types.base import BasePrediction
from rampwf.utils.submission import bag_submissions, save_submissions

from .failure import KitError, PredictionsError
from .ground_truth import GroundTruth
from .running_mean import Terms, terms_of
from .truth import Truth

_TITLE = "Bagged scores"
#: So many rows are worked on at once.
_PIECE = 1 << 16
#: Methods that a kit may have of its own.
_OWN_WAYS = ("set_valid_in_train", "set_slice", "valid_indexes")


class Bagging(Protocol):
    """What is made of the folds together."""

    def add(self, step: str, predictions: Any) -> None:
        """Take the predictions of the next fold, of its ``valid`` part or of the ``test`` data."""

    def write(self, output: Path) -> None:
        """Write ``bagged_scores.csv``, and what a kit's own ``save_submission`` makes."""


def make_bagging(truth: Truth, labels: GroundTruth) -> Bagging:
    """Choose the way that takes the least memory.

    Parameters
    ----------
    truth : Truth
    labels : GroundTruth
        Its labels.
    """
    kind = truth.problem.Predictions
    terms = terms_of(kind, {np.dtype("float64")}, len(truth.y_train))
    is_plain = all(getattr(kind, name) is getattr(BasePrediction, name) for name in _OWN_WAYS)
    parts = ["train"] if truth.y_test is None else ["train", "test"]
    if terms is None or not is_plain or not all(map(labels.is_made_once, parts)):
        return KitBagging(truth)
    return MeanBagging(truth, labels, terms)


class KitBagging:
    """Leave it to ramp-workflow, which combines with the kit's own ``combine``.

    Parameters
    ----------
    truth : Truth
    """

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._held: dict[str, list[Any]] = {"valid": [], "test": []}

    def add(self, step: str, predictions: Any) -> None:
        """Hold the predictions of a fold."""
        self._held[step].append(predictions)

    def write(self, output: Path) -> None:
        """Combine, score and write.

        Raises
        ------
        PredictionsError
            The predictions cannot be combined, or not be scored then.
        """
        truth = self._truth
        with _combining():
            bag_submissions(
                truth.problem,
                truth.folds,
                truth.y_train,
                truth.y_test,
                self._held["valid"],
                self._held["test"],
                training_output_path=str(output),
                ramp_data_dir=str(truth.data),
                score_type_index=None,
                save_output=True,
                score_table_title=_TITLE,
            )


class MeanBagging:
    """Carry sums along.

    Parameters
    ----------
    truth : Truth
    labels : GroundTruth
        Its labels.
    terms : callable
        Makes of an array what is added.
    """

    def __init__(self, truth: Truth, labels: GroundTruth, terms: Terms) -> None:
        self._truth = truth
        n_train = len(truth.y_train)
        self._means = {"valid": _Mean(truth.problem.Predictions, n_train, "train", labels, terms)}
        if truth.y_test is not None:
            n_test = len(truth.y_test)
            self._means["test"] = _Mean(truth.problem.Predictions, n_test, "test", labels, terms)
        self._scores: dict[str, list[list[float]]] = {step: [] for step in self._means}

    def add(self, step: str, predictions: Any) -> None:
        """Add the predictions of a fold, and score what there is by now.

        Raises
        ------
        PredictionsError
            They cannot be combined, or not be scored then.
        """
        scores = self._scores[step]
        rows = self._truth.folds[len(scores)][1] if step == "valid" else None
        mean = self._means[step]
        with _combining():
            mean.add(predictions.y_pred, rows)
            scores.append(mean.scores(self._truth.problem.score_types))

    def write(self, output: Path) -> None:
        """Write the scores.

        Raises
        ------
        PredictionsError
            The kit's ``save_submission`` fails.
        """
        names = [score_type.name for score_type in self._truth.problem.score_types]
        with _combining():
            for step, mean in self._means.items():
                y_pred, suffix = mean.combined()[0].y_pred, f"_bagged_{step}"
                save_submissions(
                    self._truth.problem, y_pred, str(self._truth.data), str(output), suffix
                )
        frames = {step: pd.DataFrame(rows, columns=names) for step, rows in self._scores.items()}
        frame = pd.concat(frames)
        frame.columns = frame.columns.rename("score")
        frame.index = frame.index.rename(["step", "n_bag"])
        frame.to_csv(output / "bagged_scores.csv")


class _Mean:
    """The mean of predictions for the rows for which there are any.

    Parameters
    ----------
    kind : type
        The kit's ``Predictions``.
    n_rows : int
        Of the data.
    part : str
        ``train`` or ``test``: which labels it is held against.
    labels : GroundTruth
    terms : callable
    """

    def __init__(
        self, kind: Any, n_rows: int, part: str, labels: GroundTruth, terms: Terms
    ) -> None:
        self._empty = kind(n_samples=n_rows)
        self._part = part
        self._labels = labels
        self._terms = terms
        self._total = self._empty.y_pred
        self._total[:] = 0.0
        self._counts = np.zeros(n_rows, dtype=np.intp)

    def add(self, y_pred: Any, rows: Optional[Any]) -> None:
        """Add the predictions of some rows; None: of all, piece by piece."""
        if rows is not None:
            self._total[rows] += self._terms(np.asarray(y_pred, dtype=np.float64))
            self._counts[rows] += 1
            return
        for start in range(0, len(y_pred), _PIECE):
            piece = slice(start, start + _PIECE)
            self._total[piece] += self._terms(np.asarray(y_pred[piece], dtype=np.float64))
        self._counts += 1

    def combined(self) -> tuple[Any, Optional[Any]]:
        """Give the mean, and the mask of the rows that it has; None: all of them."""
        counts = self._counts if self._total.ndim == 1 else self._counts[:, np.newaxis]
        with np.errstate(invalid="ignore"):
            mean = self._total / counts
        is_known = ~np.isnan(mean if mean.ndim == 1 else mean[:, 0])
        made = copy.copy(self._empty)
        made.y_pred = mean if is_known.all() else mean[is_known]
        return made, None if is_known.all() else is_known

    def scores(self, score_types: Any) -> list[float]:
        """Score what there is by now."""
        combined, rows = self.combined()
        labels = self._labels.rows(self._part, rows)
        return [score_type.score_function(labels, combined) for score_type in score_types]


@contextlib.contextmanager
def _combining() -> Iterator[None]:
    """Blame the predictions for what fails, but for what the disk refuses, or the kit's labels."""
    try:
        yield
    except (OSError, KitError):
        raise
    except Exception as error:
        message = f"the predictions of the folds cannot be combined ({type(error).__name__})"
        raise PredictionsError("validating_error", message) from error
