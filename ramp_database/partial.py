"""Scores of the folds that are done while others of the same attempt run.

Public ones only: scores on test data are recorded when the submission is scored. They lie with the
attempt and end with it, however it ends, and no ranking reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from sqlalchemy import ColumnElement, null, select
from sqlalchemy.orm import Session

from ramp_database.model import Attempt, ScoreType, Submission
from ramp_database.numbers import mean_and_std
from ramp_database.results import Results
from ramp_database.states import OWNED

__all__ = ["PartialScores", "read"]


@dataclass(frozen=True)
class PartialScores:
    """The public scores of some folds."""

    n_folds: int  #: how many folds the event has
    folds: Mapping[int, Mapping[str, float | None]]  #: by fold and name; None: no finite number

    @classmethod
    def of(cls, results: Results, n_folds: int) -> Self:
        """Take the scores on the rows held out, and nothing else."""
        folds = {
            fold.fold: {name: scores.valid for name, scores in fold.scores.items()}
            for fold in results.folds
        }
        return cls(n_folds, folds)

    def to_json(self) -> dict[str, Any]:
        """Give what is stored: ``{"n_folds": n, "folds": [{"fold": i, "scores": {NAME: x}}]}``."""
        folds = [{"fold": i, "scores": dict(self.folds[i])} for i in sorted(self.folds)]
        return {"n_folds": self.n_folds, "folds": folds}


def read(session: Session, *where: ColumnElement[bool]) -> dict[int, dict[str, Any]]:
    """Read the partial scores of submissions that are being evaluated.

    Parameters
    ----------
    session : Session
    *where : ColumnElement
        Conditions on `Submission`.

    Returns
    -------
    dict
        By submission, ready for JSON: what `PartialScores.to_json` gives, and of the official score
        type ``score_type`` (its name), ``precision``, and ``mean`` over the folds that are done,
        None where one of them is no finite number.

    Notes
    -----
    One statement; its cost grows with what is being evaluated only.
    """
    query = (
        select(Submission.id, Attempt.partial, ScoreType.name, ScoreType.precision)
        .join(Attempt, Attempt.submission_id == Submission.id)
        .join(ScoreType, ScoreType.event_id == Submission.event_id)
        .where(Attempt.number == Submission.attempt, ScoreType.position == 0)
        .where(Submission.state.in_(OWNED), Attempt.partial.is_not(null()), *where)
    )
    return {id_: _told(*row) for id_, *row in session.execute(query)}


def _told(partial: dict[str, Any], name: str, precision: int) -> dict[str, Any]:
    scores = [fold["scores"].get(name) for fold in partial["folds"]]
    mean = mean_and_std(scores)[0] if scores else None
    return partial | {"score_type": name, "precision": precision, "mean": mean}
