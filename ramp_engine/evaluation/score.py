"""The third step, on the trusted side: hold predictions against the labels.

This process holds the test labels and runs the organiser's ``problem.py``. It never runs a
participant's file, never unpickles what came from a fold, and reads no score that came from there.
Files and numbers are those of ``ramp-test --save-output``, by ramp-workflow's own functions.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from .bagging import make_bagging
from .failure import KitError
from .fold_scores import FoldScorer, FoldScores
from .ground_truth import GroundTruth
from .kit import working_directory
from .saving import Saving
from .truth import Truth, load_truth
from .untrusted_files import write_text


def score(
    labels: Path,
    data: Path,
    predictions: Path,
    output: Path,
    kit: Optional[Path] = None,
    saving: Optional[Saving] = None,
) -> dict[str, Any]:
    """Score the predictions of a submission.

    Parameters
    ----------
    labels, data, kit
        See `load_truth`.
    predictions : Path
        Folder with ``fold_<i>/`` as the fold step has left them; only read.
    output : Path
        Where ``fold_<i>/`` and ``bagged_scores.csv`` are written; another folder.
    saving : Saving, optional
        What of the predictions is written there; all of them, compressed, by default.

    Returns
    -------
    dict
        Scores and times of each fold, bagged scores; None for a value that is not finite.

    Raises
    ------
    PredictionsError
        The predictions are at fault.
    KitError
        The kit is at fault.
    """
    if output.resolve() == predictions.resolve():
        raise KitError("scores cannot be written into the folder of the predictions")
    truth = load_truth(labels, data, kit)
    with working_directory(data):  # paths of files in y are relative to it
        scorer = _Scorer(truth, saving or Saving(), output)
        folds = [
            scorer.score_fold(predictions / f"fold_{number}", number)
            for number in range(len(truth.folds))
        ]
        return {"folds": folds, "bagged": scorer.finish()}


def score_folds(
    labels: Path, data: Path, predictions: Path, numbers: Sequence[int], kit: Optional[Path] = None
) -> dict[str, Any]:
    """Score some folds while others are not done yet; nothing is combined, nothing is written.

    Parameters
    ----------
    labels, data, predictions, kit
        See `score`.
    numbers : sequence of int
        The folds.

    Returns
    -------
    dict
        As `score`, of these folds; ``bagged`` is empty.

    Raises
    ------
    PredictionsError, KitError
        As `score`.
    """
    truth = load_truth(labels, data, kit)
    folds = FoldScorer(truth, GroundTruth(truth))
    scored = []
    with working_directory(data):
        for number in numbers:
            if not 0 <= number < len(truth.folds):
                raise KitError(f"there is no fold {number}")
            scored.append(_result(truth, folds.score(predictions / f"fold_{number}", number)))
    return {"folds": scored, "bagged": {}}


class _Scorer:
    """Scores the folds of one submission, and writes what ramp-test would."""

    def __init__(self, truth: Truth, saving: Saving, output: Path) -> None:
        labels = GroundTruth(truth)
        self._truth = truth
        self._saving = saving
        self._output = output
        self._folds = FoldScorer(truth, labels)
        self._bagging = make_bagging(truth, labels)

    def score_fold(self, predictions: Path, number: int) -> dict[str, Any]:
        """Score one fold; give what goes into the result."""
        folder = self._output / f"fold_{number}"

        def save(suffix: str, y_pred: Any) -> None:
            folder.mkdir(parents=True, exist_ok=True)
            self._saving.save(self._truth, y_pred, suffix, folder)

        scored = self._folds.score(predictions, number, save, self._bagging.add)
        for step, seconds in scored.times.items():
            write_text(folder, f"{step}_time", str(seconds))
        result = _result(self._truth, scored)
        scored.frame["time"] = [scored.times[step] for step in self._truth.steps]
        scored.frame.to_csv(folder / "scores.csv")
        write_text(folder, "state.txt", "scored")
        return result

    def finish(self) -> dict[str, Any]:
        """Write what is made of all folds together; give the scores of that."""
        self._bagging.write(self._output)
        self._saving.note(self._output)
        return _read_bagged(self._truth, self._output / "bagged_scores.csv")


def _result(truth: Truth, fold: FoldScores) -> dict[str, Any]:
    scores = {}
    for score_type in truth.problem.score_types:
        steps = {step: _finite(fold.frame.loc[step, score_type.name]) for step in truth.steps}
        scores[score_type.name] = {"test": None, **steps}
    return {"fold": fold.number, "scores": scores, "times": {"test": None, **fold.times}}


def _read_bagged(truth: Truth, path: Path) -> dict[str, Any]:
    """Return the scores of all folds combined, from the file that was just written."""
    names = [score_type.name for score_type in truth.problem.score_types]
    bagged: dict[str, Any] = {name: {"valid": None, "test": None} for name in names}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["n_bag"]) == len(truth.folds) - 1:
                for name in names:
                    bagged[name][row["step"]] = _finite(row[name] or "nan")
    return bagged


def _finite(value: Any) -> Optional[float]:
    number = float(value)
    return number if math.isfinite(number) else None
