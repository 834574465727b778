"""The fourth step, on the trusted side: blend the scored submissions of an event.

For each fold the submissions are chosen whose combination validates best (`greedy`); the share of a
submission in the blends of the folds is its contributivity. Files and numbers are those of
``ramp-blend --save-output`` over the same predictions, by ramp-workflow's own functions where they
score and combine; submissions stand in the order in which they are given, which decides between
equals.

Like the score step this one holds the labels, never runs a participant's file, and never unpickles
what came from a fold. It keeps for the next time, in a folder of its own:

* the validation predictions of each submission, so that only new ones are read;
* the choices of each fold, so that only new submissions are tried against them.

Test predictions are read of chosen submissions only, each time.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
from rampwf.utils.submission import bag_submissions

from .failure import PredictionsError, kit_code
from .fold_blend import Candidate, FoldBlend, FoldBlender, TestPredictionsError
from .kit import working_directory
from .truth import Truth, load_truth
from .validation_cache import ValidationCache

#: The file with the shares, as ``ramp-blend`` calls it.
CONTRIBUTIVITIES = "contributivities.csv"

_HINT = "Predictions and the official score type of problem.py must take what submissions predict."


def read_candidates(path: Path) -> list[Candidate]:
    """Read a list of submissions: ``[{"name", "attempt", "folder"}, ...]``."""
    rows = json.loads(path.read_text("utf-8"))
    return [Candidate(row["name"], row["attempt"], Path(row["folder"])) for row in rows]


def blend(
    labels: Path,
    data: Path,
    candidates: Sequence[Candidate],
    cache: Path,
    output: Path,
    min_improvement: float = 0.0,
) -> dict[str, Any]:
    """Blend submissions.

    Parameters
    ----------
    labels, data
        See `load_truth`.
    candidates : sequence of Candidate
        In an order that stays: any two in the same from run to run.
    cache : Path
        What is kept for the next time with the same labels; only the trusted side may write there.
    output : Path
        Where the three files are written, if there is anything to blend; made when missing.
    min_improvement : float
        By how much more than nothing an addition must improve the official score.

    Returns
    -------
    dict
        ``submissions``: of each blended one its ``name``, its contributivity in ``percent``, and
        its share of it in each of the ``folds``, from 0 to 1 / (number of folds).
        ``left_out``: reasons by names. ``combined``, ``foldwise_best``: the bagged official score
        of the blends of the folds, and of their best single submissions, for ``valid`` and
        ``test``; None for what is no finite number. ``n_read``, ``n_scored``: submissions that
        were read, predictions that were scored to choose.

    Raises
    ------
    KitError
        The kit is at fault.
    """
    truth = load_truth(labels, data)
    kept = ValidationCache(cache, truth)
    members, left_out, n_read = _read_all(kept, candidates)
    kept.keep_only([one.key for one in members])
    output.mkdir(parents=True, exist_ok=True)
    with working_directory(data), kit_code("blending the submissions", _HINT):
        folds = _blend_folds(truth, kept, members, left_out, min_improvement)
        shares = _shares(len(members), [fold.chosen for fold in folds])
        percents = _write_contributivities(members, shares, output)
        result = {
            "combined": _bag(truth, "Combined", [fold.combined for fold in folds], output),
            "foldwise_best": _bag(truth, "Foldwise best", [fold.best for fold in folds], output),
        }
    result["submissions"] = [
        {"name": one.name, "percent": percents[index], "folds": shares[index].tolist()}
        for index, one in enumerate(members)
    ]
    n_scored = sum(fold.n_scored for fold in folds)
    return {**result, "left_out": left_out, "n_read": n_read, "n_scored": n_scored}


def _read_all(
    kept: ValidationCache, candidates: Sequence[Candidate]
) -> tuple[list[Candidate], dict[str, str], int]:
    members, n_read = [], 0
    left_out: dict[str, str] = {}
    for one in candidates:
        try:
            n_read += kept.add(one.key, one.folder)
            members.append(one)
        except PredictionsError as error:
            left_out[one.name] = error.message
    return members, left_out, n_read


def _blend_folds(
    truth: Truth,
    kept: ValidationCache,
    members: list[Candidate],
    left_out: dict[str, str],
    min_improvement: float,
) -> list[FoldBlend]:
    """Blend on each fold; who turns out to have no test predictions goes from the members."""
    while members:
        blender = FoldBlender(truth, kept, members, min_improvement)
        try:
            return [blender.blend(number) for number in range(len(truth.folds))]
        except TestPredictionsError as error:
            left_out[members.pop(error.index).name] = error.message
    return []


def _shares(n_submissions: int, chosen: Sequence[Sequence[int]]) -> Any:
    """Share a unit among the submissions of each fold's blend; shape (n_submissions, n_folds)."""
    shares = np.zeros((n_submissions, len(chosen)))
    for number, indices in enumerate(chosen):
        for index in indices:
            shares[index, number] += 1.0 / len(indices)
    return shares / max(len(chosen), 1)


def _write_contributivities(members: Sequence[Candidate], shares: Any, output: Path) -> list[float]:
    """Write the shares as ramp-blend does, in whole percent; return the percentages unrounded."""
    if not members:
        return []
    frame = pd.DataFrame({"submission": [one.name for one in members], "contributivity": 0.0})
    for number in range(shares.shape[1]):
        frame[f"fold_{number}"] = shares[:, number]
        frame["contributivity"] += shares[:, number]
    frame["contributivity"] *= 100 / frame["contributivity"].sum()
    percents = [float(percent) for percent in frame["contributivity"]]
    frame["contributivity"] = frame["contributivity"].round().astype(int)
    frame = frame.sort_values("contributivity", ascending=False)
    frame.to_csv(output / CONTRIBUTIVITIES, index=False)
    return percents


def _bag(truth: Truth, title: str, folds: Sequence[tuple[Any, Any]], output: Path) -> Any:
    """Bag the predictions of the folds, as ramp-blend does, and give the official scores."""
    if not folds:
        return None
    prefix = title.lower().replace(" ", "_")
    bag_submissions(
        truth.problem,
        truth.folds,
        truth.y_train,
        truth.y_test,
        [valid for valid, _ in folds],
        [test for _, test in folds],
        str(output),
        ramp_data_dir=str(truth.data),
        score_type_index=0,
        save_output=True,
        score_table_title=f"{title} bagged scores",
        score_f_name_prefix=prefix,
    )
    path = (output / "bagged_scores.csv").replace(output / f"bagged_scores_{prefix}.csv")
    return _read_bagged(path, truth)


def _read_bagged(path: Path, truth: Truth) -> dict[str, Optional[float]]:
    bagged: dict[str, Optional[float]] = {"valid": None, "test": None}
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if int(row["n_bag"]) == len(truth.folds) - 1:
                score = float(row[truth.problem.score_types[0].name] or "nan")
                bagged[row["step"]] = score if math.isfinite(score) else None
    return bagged
