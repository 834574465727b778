"""The predictions of one fold held against the labels. Trusted side.

The parts are read, scored and let go one after the other: a million rows take their time, but not
the memory of all parts at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from rampwf.utils.scoring import score_matrix_from_scores

from .failure import PredictionsError, one_line
from .ground_truth import GroundTruth
from .truth import Truth, read_predictions, read_times

#: Takes ``train`` or ``test`` and the array that was read, once it is scored.
Save = Callable[[str, Any], None]
#: Takes ``valid`` or ``test`` and its `Predictions`, once they are scored.
Combine = Callable[[str, Any], None]


@dataclass(frozen=True)
class FoldScores:
    """What a fold has reached."""

    number: int  #: the fold
    frame: Any  #: scores; a row for each step, a column for each score type
    times: dict[str, float]  #: by step [s]


class FoldScorer:
    """Score folds, as ``run_submission_on_cv_fold`` of ramp-workflow does.

    Parameters
    ----------
    truth : Truth
    labels : GroundTruth
        Its labels.
    """

    def __init__(self, truth: Truth, labels: GroundTruth) -> None:
        self._truth = truth
        self._labels = labels

    def score(
        self,
        folder: Path,
        number: int,
        save: Save = lambda _suffix, _y_pred: None,
        combine: Combine = lambda _step, _predictions: None,
    ) -> FoldScores:
        """Read, check and score what the fold step has left.

        Parameters
        ----------
        folder : Path
            The fold's folder; nothing in it is trusted.
        number : int
            The fold.
        save, combine : callable
            Take what is scored, part after part.

        Raises
        ------
        PredictionsError
            Predictions are missing, are not plain data, have the wrong shape, are NaN, or cannot be
            scored.
        KitError
            The kit cannot make Predictions of its own labels.
        """
        scores = self._score_training(folder, number, save, combine)
        if self._truth.y_test is not None:
            scores["test"] = self._score_test(folder, number, save, combine)
        frame = score_matrix_from_scores(
            self._truth.problem.score_types, list(scores), list(scores.values())
        )
        return FoldScores(number, frame, read_times(self._truth, folder))

    def _score_training(
        self, folder: Path, number: int, save: Save, combine: Combine
    ) -> dict[str, list[Any]]:
        y_pred = read_predictions(self._truth, folder, number, "train")
        train_is, valid_is = self._truth.folds[number]
        scores = {}
        for step, rows in (("train", train_is), ("valid", valid_is)):
            made = self._make(y_pred, number, step, rows)
            scores[step] = self._hold_against(made, number, step, rows)
        save("train", y_pred)
        del y_pred
        combine("valid", made)
        return scores

    def _score_test(self, folder: Path, number: int, save: Save, combine: Combine) -> list[Any]:
        y_pred = read_predictions(self._truth, folder, number, "test")
        made = self._make(y_pred, number, "test", None)
        scores = self._hold_against(made, number, "test", None)
        save("test", y_pred)
        del y_pred
        combine("test", made)
        return scores

    def _make(self, y_pred: Any, number: int, step: str, rows: Optional[Any]) -> Any:
        chosen = {} if rows is None else {"fold_is": rows}
        try:
            return self._truth.problem.Predictions(y_pred=y_pred, **chosen)
        except (ValueError, TypeError, IndexError) as error:
            raise PredictionsError(_state(step), one_line(error), number) from error

    def _hold_against(self, made: Any, number: int, step: str, rows: Optional[Any]) -> list[Any]:
        labels = self._labels.rows("test" if step == "test" else "train", rows)
        try:
            return [
                score_type.score_function(labels, made)
                for score_type in self._truth.problem.score_types
            ]
        except Exception as error:
            raise PredictionsError(_state(step), _reason(step, number, error), number) from error


def _state(step: str) -> str:
    return "testing_error" if step == "test" else "validating_error"


def _reason(step: str, number: int, error: Exception) -> str:
    """Tell what is wrong with predictions; of the test data no message is shown."""
    if step == "test":
        message = f"fold {number}: the predictions of the test data cannot be scored"
        return f"{message} ({type(error).__name__})"
    return f"fold {number}: the predictions cannot be scored: {one_line(error)}"
