"""Who owns what: looking, without changing anything."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache

from sqlalchemy import Select, bindparam, case, func, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.errors import ClaimLostError
from ramp_database.model import Submission
from ramp_database.queue.transitions import Claim
from ramp_database.states import FINAL, OWNED, State

_OPEN = sorted(set(State) - FINAL)


@dataclass(frozen=True)
class Owned:
    """A submission that a dispatcher owns."""

    claim: Claim
    state: State
    cancel_reason: str | None  #: None when nobody wants it canceled

    @property
    def is_cancel_requested(self) -> bool:
        """Whether it was asked to be canceled."""
        return self.cancel_reason is not None


@dataclass(frozen=True)
class Outlook:
    """What is still to be done for an event."""

    n_open: int  #: submissions that have not reached a final state
    due_seconds: float | None  #: until the next one that is delayed may be claimed; None: none is


def owned(session: Session, dispatcher_id: int) -> list[Owned]:
    """List what a dispatcher owns, with the wishes to cancel; a claim not among it is lost.

    Notes
    -----
    One statement for all slots.
    """
    rows = session.execute(_listing_owned(), {"the_dispatcher": dispatcher_id})
    return [
        Owned(Claim(id_, attempt, dispatcher_id), state, (reason or "") if at else None)
        for id_, attempt, state, at, reason in rows
    ]


@cache
def _listing_owned() -> Select[int, int, State, datetime | None, str | None]:
    return (
        select(
            Submission.id,
            Submission.attempt,
            Submission.state,
            Submission.cancel_requested_at,
            Submission.cancel_reason,
        )
        .where(Submission.dispatcher_id == bindparam("the_dispatcher"))
        .where(Submission.state.in_(OWNED))
        .order_by(Submission.id)
    )


def owned_of_event(session: Session, event_id: int) -> list[Claim]:
    """List the claims of all dispatchers of an event, dead ones included."""
    query = (
        select(Submission.id, Submission.attempt, Submission.dispatcher_id)
        .where(Submission.event_id == event_id, Submission.state.in_(OWNED))
        .order_by(Submission.id)
    )
    rows = session.execute(query)
    return [Claim(id_, attempt, owner) for id_, attempt, owner in rows if owner is not None]


def is_cancel_requested(session: Session, claim: Claim) -> bool:
    """Tell whether a claimed submission was asked to be canceled.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    """
    for item in owned(session, claim.dispatcher_id):
        if item.claim == claim:
            return item.is_cancel_requested
    raise ClaimLostError(claim.submission_id, claim.attempt)


def count_open(session: Session, event_id: int) -> int:
    """Count the submissions of an event that have not reached a final state."""
    query = select(func.count()).select_from(Submission)
    query = query.where(Submission.event_id == event_id, Submission.state.in_(_OPEN))
    return session.execute(query).scalar_one()


def outlook(session: Session, event_id: int) -> Outlook:
    """Tell what is still to be done for an event, and when the next delay ends.

    Notes
    -----
    One statement.
    """
    n_open, due_at, at = session.execute(_looking_ahead(), {"the_event": event_id}).one()
    return Outlook(n_open, None if due_at is None else (due_at - at).total_seconds())


@cache
def _looking_ahead() -> Select[int, datetime | None, datetime]:
    now = clock.now()
    is_delayed = (Submission.state == State.NEW) & (Submission.not_before > now)
    due = func.min(case((is_delayed, Submission.not_before)))
    is_of_event = Submission.event_id == bindparam("the_event")
    return select(func.count(), due, now).where(is_of_event, Submission.state.in_(_OPEN))
