"""The history of a submission, as it was recorded: facts, and no words for them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import clock, partial, presence, submissions, waiting
from ramp_database.attempts import folds_started_at
from ramp_database.model import Attempt, Submission, SubmissionEvent
from ramp_database.presence import Presence
from ramp_database.states import State

__all__ = ["AttemptFacts", "History", "StepFacts", "read"]


@dataclass(frozen=True)
class StepFacts:
    """A step in the life of a submission."""

    at: datetime
    from_state: State | None  #: None for the first
    to_state: State
    attempt: int  #: 0 before the first claim
    dispatcher_id: int | None  #: who did it; None for a team or an organiser
    reason: str | None


@dataclass(frozen=True)
class AttemptFacts:
    """One run of a submission."""

    number: int  #: from 1
    dispatcher_id: int  #: whose it is or was last
    claimed_at: datetime
    started_at: datetime | None  #: when its folds started
    finished_at: datetime | None
    outcome: str | None  #: None while it is under way
    error: str | None
    confinement: str | None = None  #: such as ``namespaces``; None where that is not known
    provenance: dict[str, Any] | None = None  #: see `ramp_database.provenance`


@dataclass(frozen=True)
class History:
    """Everything that is recorded about the way of a submission."""

    submission_id: int
    event: str
    config_path: str  #: the event's file, as it was deployed
    team: str
    name: str
    state: State
    n_crashes: int  #: since it was submitted or reopened
    not_before: datetime | None  #: it is not claimed before
    cancel_requested_at: datetime | None
    cancel_reason: str | None
    error: str | None  #: why it failed, for its team
    dispatcher_id: int | None  #: the owner
    read_at: datetime  #: when all this was so, by the database's clock
    n_ahead: int  #: submissions of the event that wait and are claimed before it
    steps: tuple[StepFacts, ...]  #: the oldest first
    attempts: tuple[AttemptFacts, ...]
    dispatchers: dict[int, Presence]  #: those of the history, as far as they are still known
    live_dispatchers: tuple[Presence, ...]  #: those of the event that live
    partial: dict[str, Any] | None = None  #: as `ramp_database.partial` reads it


_WISH = ("cancel_requested_at", "cancel_reason")
_COLUMNS = ("name", "state", "n_crashes", "not_before", "error", "dispatcher_id", *_WISH)


def read(session: Session, submission_id: int) -> History:
    """Read the history of a submission.

    Raises
    ------
    NotFoundError
        There is no such submission.

    Notes
    -----
    Eight statements, whatever the length of the history.
    """
    row = submissions.get(session, submission_id)
    steps, attempts = _steps(session, submission_id), _attempts(session, submission_id)
    numbers = {step.dispatcher_id for step in steps} | {one.dispatcher_id for one in attempts}
    live = [one for one in presence.of_event(session, row.event_id) if one.is_live]
    return History(
        submission_id=row.id,
        event=row.event.name,
        config_path=row.event.config_path,
        team=row.team.name,
        **{name: getattr(row, name) for name in _COLUMNS},
        read_at=clock.read(session),
        n_ahead=_count_ahead(session, row),
        steps=steps,
        attempts=attempts,
        dispatchers=presence.of_numbers(session, {number for number in numbers if number}),
        live_dispatchers=tuple(live),
        partial=partial.read(session, Submission.id == submission_id).get(submission_id),
    )


def _steps(session: Session, submission_id: int) -> tuple[StepFacts, ...]:
    names = StepFacts.__dataclass_fields__
    query = select(*(getattr(SubmissionEvent, name) for name in names))
    query = query.where(SubmissionEvent.submission_id == submission_id)
    return tuple(StepFacts(*row) for row in session.execute(query.order_by(SubmissionEvent.id)))


def _attempts(session: Session, submission_id: int) -> tuple[AttemptFacts, ...]:
    columns = {name: getattr(Attempt, name) for name in AttemptFacts.__dataclass_fields__}
    columns["started_at"] = folds_started_at()
    query = select(*columns.values())
    query = query.where(Attempt.submission_id == submission_id)
    return tuple(AttemptFacts(*row) for row in session.execute(query.order_by(Attempt.number)))


def _count_ahead(session: Session, row: Submission) -> int:
    """Count the submissions that come before one that waits, in the order of the teams' turns."""
    if row.state is not State.NEW:
        return 0
    found = waiting.waiting(session, row.event_id).get(row.id)
    return found.place - 1 if found is not None and found.place is not None else 0
