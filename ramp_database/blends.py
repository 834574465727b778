"""Blending the submissions of an event: which can be, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import delete, exists, insert, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.errors import DatabaseError
from ramp_database.model import (
    Attempt,
    Contributivity,
    Event,
    EventBlend,
    FoldScore,
    ScoreType,
    Submission,
)
from ramp_database.provenance import Provenance
from ramp_database.states import State

__all__ = ["BagScores", "Blend", "Scored", "read", "scored", "store"]


@dataclass(frozen=True)
class Scored:
    """A scored submission."""

    submission_id: int
    attempt: int
    provenance: Provenance | None  #: what it was evaluated with; None where that is not known
    has_all_scores: bool  #: whether each fold's official validation score is a finite number


@dataclass(frozen=True)
class BagScores:
    """Official scores of bagged predictions; None for what is no finite number."""

    valid: float | None
    test: float | None


@dataclass(frozen=True)
class Blend:
    """What came of blending submissions."""

    bundle: str  #: name of the bundle whose labels and folds it was made with
    inputs_hash: str  #: of all that it depends on
    percents: Mapping[tuple[int, int], float]  #: by number and attempt of the blended submissions
    combined: BagScores  #: of the blends of the folds
    foldwise_best: BagScores  #: of the best single submissions of the folds


def scored(session: Session, event_id: int) -> list[Scored]:
    """List the scored submissions of an event by their numbers, which are the order of blends."""
    lacks_score = exists().where(
        FoldScore.submission_id == Submission.id,
        FoldScore.score_type_id == ScoreType.id,
        FoldScore.valid.is_(None),
    )
    query = (
        select(Submission.id, Submission.attempt, Attempt.provenance, lacks_score.label("lacks"))
        .join(Attempt, (Attempt.submission_id == Submission.id))
        .join(ScoreType, ScoreType.event_id == Submission.event_id)
        .where(Submission.event_id == event_id, Submission.state == State.SCORED)
        .where(Attempt.number == Submission.attempt, ScoreType.position == 0)
        .order_by(Submission.id)
    )
    return [
        Scored(
            row.id,
            row.attempt,
            None if row.provenance is None else Provenance.from_json(row.provenance),
            not row.lacks,
        )
        for row in session.execute(query)
    ]


def read(session: Session, event_id: int) -> EventBlend | None:
    """Find the newest blend of an event."""
    return session.get(EventBlend, event_id)


def store(session: Session, event_id: int, blend: Blend) -> list[int]:
    """Store a blend in place of that of the last time.

    Parameters
    ----------
    session : Session
    event_id : int
    blend : Blend

    Returns
    -------
    list of int
        The submissions that were evaluated anew, reopened or deleted since they were blended:
        nothing is stored of them, and what holds of the others stands.

    Raises
    ------
    DatabaseError
        The event was deployed anew, or deleted, since: nothing is stored.

    Notes
    -----
    A handful of statements; no row that a dispatcher writes is touched.
    """
    event = session.get(Event, event_id)
    if event is None or event.bundle_hash != blend.bundle:
        raise DatabaseError("the event was deployed anew while it was blended: blend it again")
    of_event = select(Submission.id).where(Submission.event_id == event_id)
    session.execute(
        delete(Contributivity).where(Contributivity.submission_id.in_(of_event)),
        execution_options={"synchronize_session": False},
    )
    standing = _standing(session, event_id)
    rows = [
        {"submission_id": number, "attempt": attempt, "percent": percent}
        for (number, attempt), percent in blend.percents.items()
        if (number, attempt) in standing
    ]
    if rows:
        session.execute(insert(Contributivity), rows)
    _replace(session, event, blend)
    return _without(blend.percents, standing)


def _standing(session: Session, event_id: int) -> set[tuple[int, int]]:
    query = select(Submission.id, Submission.attempt).where(
        Submission.event_id == event_id, Submission.state == State.SCORED
    )
    return {(row.id, row.attempt) for row in session.execute(query)}


def _without(blended: Iterable[tuple[int, int]], standing: set[tuple[int, int]]) -> list[int]:
    return [number for number, attempt in blended if (number, attempt) not in standing]


def _replace(session: Session, event: Event, blend: Blend) -> None:
    row = session.get(EventBlend, event.id) or EventBlend(event_id=event.id)
    row.computed_at = clock.read(session)
    row.inputs_hash = blend.inputs_hash
    row.n_submissions = len(blend.percents)
    row.score_type = event.score_types[0].name
    row.combined_valid, row.combined_test = blend.combined.valid, blend.combined.test
    best = blend.foldwise_best
    row.foldwise_best_valid, row.foldwise_best_test = best.valid, best.test
    session.add(row)
    session.flush()
