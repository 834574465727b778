"""The third step, on the trusted side: hold predictions against the labels.

This process holds the test labels and runs the organiser's ``problem.py``. It never runs a
participant's file, never unpickles what came from a fold, and reads no score that came from there.
Files and numbers are those of ``ramp-test --save-output``, by ramp-workflow's own functions.
"""

from __future__ import annotations

import csv
import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

from rampwf.utils.scoring import score_matrix
from rampwf.utils.submission import bag_submissions

from .failure import KitError, PredictionsError, kit_code, one_line
from .kit import working_directory
from .saving import Saving
from .truth import CheckedFold, Truth, load_truth, read_fold
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
    saving = saving or Saving()
    scored = []
    with working_directory(data):  # paths of files in y are relative to it
        for number in range(len(truth.folds)):
            fold = read_fold(truth, predictions / f"fold_{number}", number)
            scored.append(_score_fold(truth, fold, output / f"fold_{number}", saving))
        bagged = _bag(truth, [fold[0] for fold in scored], [fold[1] for fold in scored], output)
    saving.note(output)
    return {"folds": [fold[2] for fold in scored], "bagged": bagged}


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
    scored = []
    with working_directory(data):
        for number in numbers:
            if not 0 <= number < len(truth.folds):
                raise KitError(f"there is no fold {number}")
            fold = read_fold(truth, predictions / f"fold_{number}", number)
            scored.append(
                _result(truth, fold, _held_against(truth, fold, _predictions(truth, fold)))
            )
    return {"folds": scored, "bagged": {}}


def _score_fold(
    truth: Truth, fold: CheckedFold, folder: Path, saving: Saving
) -> tuple[Any, Any, dict[str, Any]]:
    """Score one fold, as ``run_submission_on_cv_fold`` of ramp-workflow does."""
    predictions = _predictions(truth, fold)
    frame = _held_against(truth, fold, predictions)
    folder.mkdir(parents=True, exist_ok=True)
    saving.save(truth, fold, folder)
    result = _result(truth, fold, frame)
    frame["time"] = [fold.times[step] for step in truth.steps]
    frame.to_csv(folder / "scores.csv")
    write_text(folder, "state.txt", "scored")
    return predictions["valid"], predictions.get("test"), result


def _held_against(truth: Truth, fold: CheckedFold, predictions: dict[str, Any]) -> Any:
    """Return the scores of one fold, a row a step and a column a score type."""
    with kit_code("making Predictions of the labels", "Mend Predictions in problem.py."):
        ground_truth = _ground_truth(truth, fold.number)
    try:
        return score_matrix(truth.problem.score_types, ground_truth, predictions)
    except Exception as error:
        raise _blame(truth, fold.number, ground_truth, predictions, error) from error


def _predictions(truth: Truth, fold: CheckedFold) -> dict[str, Any]:
    make = truth.problem.Predictions
    train_is, valid_is = truth.folds[fold.number]
    made = OrderedDict()
    state = "validating_error"
    try:
        made["train"] = make(y_pred=fold.y_pred["train"], fold_is=train_is)
        made["valid"] = make(y_pred=fold.y_pred["train"], fold_is=valid_is)
        state = "testing_error"
        if "test" in fold.y_pred:
            made["test"] = make(y_pred=fold.y_pred["test"])
    except (ValueError, TypeError, IndexError) as error:
        raise PredictionsError(state, one_line(error), fold.number) from error
    return made


def _ground_truth(truth: Truth, number: int) -> dict[str, Any]:
    make = truth.problem.Predictions
    train_is, valid_is = truth.folds[number]
    made = OrderedDict()
    made["train"] = make(y_true=truth.y_train, fold_is=train_is)
    made["valid"] = make(y_true=truth.y_train, fold_is=valid_is)
    if truth.y_test is not None:
        made["test"] = make(y_true=truth.y_test)
    return made


def _blame(
    truth: Truth, number: int, ground_truth: Any, predictions: Any, error: Exception
) -> PredictionsError:
    """Find the step whose predictions cannot be scored; of the test data no message is shown."""
    known = [step for step in truth.steps if step != "test"]
    try:
        score_matrix(
            truth.problem.score_types,
            OrderedDict((step, ground_truth[step]) for step in known),
            OrderedDict((step, predictions[step]) for step in known),
        )
    except Exception:  # noqa: BLE001 (a kit's code, on a participant's predictions)
        message = f"fold {number}: the predictions cannot be scored: {one_line(error)}"
        return PredictionsError("validating_error", message, number)
    message = f"fold {number}: the predictions of the test data cannot be scored"
    return PredictionsError("testing_error", f"{message} ({type(error).__name__})", number)


def _result(truth: Truth, fold: CheckedFold, frame: Any) -> dict[str, Any]:
    scores = {}
    for score_type in truth.problem.score_types:
        steps = {step: _finite(frame.loc[step, score_type.name]) for step in truth.steps}
        scores[score_type.name] = {"test": None, **steps}
    return {"fold": fold.number, "scores": scores, "times": {"test": None, **fold.times}}


def _bag(truth: Truth, valid: list[Any], test: list[Any], output: Path) -> dict[str, Any]:
    """Combine the folds and score them, as ramp-test does at its end."""
    labels = (truth.folds, truth.y_train, truth.y_test)
    places = {"training_output_path": str(output), "ramp_data_dir": str(truth.data)}
    try:
        bag_submissions(
            truth.problem, *labels, valid, test, score_type_index=None, save_output=True, **places
        )
    except OSError:  # the disk is nobody's prediction
        raise
    except Exception as error:
        message = f"the predictions of the folds cannot be combined ({type(error).__name__})"
        raise PredictionsError("validating_error", message) from error
    return _read_bagged(truth, output / "bagged_scores.csv")


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
