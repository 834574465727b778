"""The scores of a submission as they are recorded, with what they were made from.

Scores become *figures*: a flat mapping from a name for people, such as ``fold 0 acc test``, to a
number, so that those recorded can be compared with others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import predictions, submissions
from ramp_database.model import Attempt, BaggedScore, Event, FoldScore, ScoreType, SubmissionFile
from ramp_database.provenance import Provenance
from ramp_database.results import (
    PLACES,
    Results,
    bagged_row,
    fold_rows,
    score_types,
    summary,
)
from ramp_database.states import State

__all__ = ["Figures", "Record", "figures", "n_scores", "read", "standing"]

Figures = Mapping[str, float | None]

_STEPS = ("train", "valid", "test")
_BAGS = ("valid_bag", "valid_mean", "valid_std", "test_bag", "test_mean", "test_std")


@dataclass(frozen=True)
class Record:
    """What is recorded of a submission and its newest attempt."""

    submission_id: int
    state: State
    attempt: int
    provenance: Provenance | None  #: of the attempt; None where none was recorded
    predictions_deleted_at: datetime | None  #: those of the attempt; None: they were not
    deployed: Provenance  #: of the event as it is deployed now, with the submission's files of now
    score_types: Sequence[ScoreType]  #: those of the event, the official one first
    figures: Figures  #: all scores, the columns of `Submission` that repeat them included


def read(session: Session, submission_id: int) -> Record:
    """Read what is recorded of a submission.

    Raises
    ------
    NotFoundError
        There is no such submission.
    """
    row = submissions.get(session, submission_id)
    kinds = score_types(session, submission_id)
    value = session.scalar(
        select(Attempt.provenance).where(
            Attempt.submission_id == submission_id, Attempt.number == row.attempt
        )
    )
    places = {name: getattr(row, name) for name in PLACES}
    folds, bagged = (_rows(session, table, submission_id) for table in (FoldScore, BaggedScore))
    return Record(
        submission_id=row.id,
        state=row.state,
        attempt=row.attempt,
        provenance=None if value is None else Provenance.from_json(value),
        predictions_deleted_at=predictions.deleted_at(session, submission_id, row.attempt),
        deployed=_deployed(row.event, _files_hash(session, submission_id)),
        score_types=kinds,
        figures=_figures(kinds, folds, bagged, places),
    )


def standing(session: Session, submission_id: int) -> tuple[State, int]:
    """Tell state and newest attempt of a submission.

    Raises
    ------
    NotFoundError
        There is no such submission any more.
    """
    row = submissions.get(session, submission_id)
    return row.state, row.attempt


def figures(kinds: Sequence[ScoreType], results: Results) -> Figures:
    """Give the figures that would be recorded of results.

    Parameters
    ----------
    kinds : sequence of ScoreType
        Those of the event, the official one first.
    results : Results
        Of the same score types.

    Raises
    ------
    DatabaseError
        They are not of the same score types.
    """
    columns = summary(kinds, results)
    ids = {kind.name: kind.id for kind in kinds}
    bagged = [bagged_row(0, kind, results) for kind in kinds]
    places = {name: columns[name] for name in PLACES}
    return _figures(kinds, fold_rows(0, ids, results), bagged, places)


def n_scores(results: Results) -> int:
    """Count the scores of the folds and the bagged ones, without those that follow from them."""
    of_folds = [one for fold in results.folds for one in fold.scores.values()]
    all_scores = (*of_folds, *results.bagged.values())
    return sum(value is not None for one in all_scores for value in vars(one).values())


def _figures(
    kinds: Sequence[ScoreType],
    folds: Iterable[Mapping[str, Any]],
    bagged: Iterable[Mapping[str, Any]],
    places: Mapping[str, float | None],
) -> Figures:
    names = {kind.id: kind.name for kind in kinds}
    found: dict[str, float | None] = {}
    for row in folds:
        title = f"fold {row['fold']} {names[row['score_type_id']]}"
        found |= {f"{title} {step}": row[step] for step in _STEPS}
    for row in bagged:
        found |= {f"{names[row['score_type_id']]} {bag}": row[bag] for bag in _BAGS}
    return found | dict(places)


def _rows(
    session: Session, table: type[FoldScore | BaggedScore], submission_id: int
) -> list[Mapping[str, Any]]:
    query = select(table.__table__).where(table.submission_id == submission_id)
    return [dict(row) for row in session.execute(query).mappings()]


def _files_hash(session: Session, submission_id: int) -> str:
    query = select(SubmissionFile.path, SubmissionFile.content)
    rows = session.execute(query.where(SubmissionFile.submission_id == submission_id))
    return submissions.content_hash(submissions.SubmissionFile(*row) for row in rows)


def _deployed(event: Event, submission: str) -> Provenance:
    return Provenance(
        bundle=event.bundle_hash,
        kit=event.kit_hash,
        data=event.data_hash,
        folds=event.folds_hash,
        environment=event.environment_hash,
        submission=submission,
        engine=None,
    )
