"""Which stored predictions may be deleted, and the record of those that were.

The predictions themselves are files, of which nothing is known here. That they were deleted is a
step in the history of their submission, from a final state to itself.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.errors import NotFoundError
from ramp_database.model import Attempt, Submission, SubmissionEvent, Team
from ramp_database.queue.transitions import Step, read_standing, record
from ramp_database.states import FINAL, State

__all__ = ["DELETED", "Selection", "deleted_at", "record_deletion", "select_finished"]

#: The reason in the history.
DELETED = "predictions deleted"


@dataclass(frozen=True)
class Selection:
    """Whose predictions are meant; all that is given must hold, and nothing means all."""

    states: Collection[State] = FINAL  #: final ones
    teams: Collection[str] = field(default=())  #: by name
    submission_ids: Collection[int] = field(default=())
    #: days since the newest attempt ended, or since it was submitted where none was made
    min_age_days: float | None = None


def select_finished(session: Session, event_id: int, wanted: Selection) -> list[tuple[int, int]]:
    """List the finished submissions of an event whose predictions are meant.

    Parameters
    ----------
    session : Session
    event_id : int
    wanted : Selection

    Returns
    -------
    list of (int, int)
        Number and newest attempt of each, by number.

    Raises
    ------
    NotFoundError
        A team is unknown, or a submission is none of the event's.
    """
    _check(session, event_id, wanted)
    newest = and_(Attempt.submission_id == Submission.id, Attempt.number == Submission.attempt)
    query = (
        select(Submission.id, Submission.attempt)
        .outerjoin(Attempt, newest)
        .where(Submission.event_id == event_id, Submission.state.in_(FINAL & set(wanted.states)))
        .where(*_conditions(wanted))
        .order_by(Submission.id)
    )
    return [(id_, attempt) for id_, attempt in session.execute(query)]


def _conditions(wanted: Selection) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if wanted.teams:
        of_names = select(Team.id).where(Team.name.in_(wanted.teams))
        found.append(Submission.team_id.in_(of_names))
    if wanted.submission_ids:
        found.append(Submission.id.in_(wanted.submission_ids))
    if wanted.min_age_days is not None:
        ended_at = func.coalesce(Attempt.finished_at, Submission.submitted_at)
        found.append(ended_at <= clock.now(-86400.0 * wanted.min_age_days))
    return found


def _check(session: Session, event_id: int, wanted: Selection) -> None:
    known = set(session.scalars(select(Team.name).where(Team.name.in_(wanted.teams))))
    for name in wanted.teams:
        if name not in known:
            raise NotFoundError("team", name)
    mine = select(Submission.id).where(Submission.event_id == event_id)
    ids = set(session.scalars(mine.where(Submission.id.in_(wanted.submission_ids))))
    for id_ in wanted.submission_ids:
        if id_ not in ids:
            raise NotFoundError("submission", id_)


def record_deletion(session: Session, submission_id: int, attempt: int) -> bool:
    """Record that the predictions of an attempt are deleted; nobody evaluates it meanwhile.

    Parameters
    ----------
    session : Session
        Its transaction keeps dispatchers from the submission: delete before it ends.
    submission_id : int
    attempt : int
        The newest.

    Returns
    -------
    bool
        False when it is not finished any more, or was evaluated anew: nothing is recorded then.

    Raises
    ------
    NotFoundError
        There is no such submission any more.
    """
    standing = read_standing(session, submission_id)
    if not standing.state.is_final or standing.attempt != attempt:
        return False
    state = standing.state
    record(session, [Step(submission_id, state, state, attempt, reason=DELETED)])
    return True


def deleted_at(session: Session, submission_id: int, attempt: int) -> datetime | None:
    """Tell when the predictions of an attempt were deleted last; None when they were not."""
    query = select(func.max(SubmissionEvent.at)).where(
        SubmissionEvent.submission_id == submission_id,
        SubmissionEvent.attempt == attempt,
        SubmissionEvent.from_state == SubmissionEvent.to_state,
        SubmissionEvent.to_state.in_(FINAL),
        SubmissionEvent.reason == DELETED,
    )
    return session.scalar(query)
