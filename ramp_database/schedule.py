"""What decides whether an event needs a dispatcher: its times, and whether anything is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Event, Submission
from ramp_database.states import OWNED, State

__all__ = ["EventSchedule", "schedules"]

_OPEN = OWNED | {State.NEW}


@dataclass(frozen=True)
class EventSchedule:
    """How an event stood at a moment of the database's clock; all times are aware UTC."""

    now: datetime  #: the moment
    opening_at: datetime | None  #: submissions are taken from then on; None: since ever
    closing_at: datetime | None  #: until then; None: without end
    has_open: bool  #: whether a submission has not reached a final state


def schedules(session: Session) -> dict[str, EventSchedule]:
    """Tell how all events stand.

    Parameters
    ----------
    session : Session

    Returns
    -------
    dict
        By the name of the event.

    Notes
    -----
    One statement; of the submissions of an event at most one row of an index is read for each
    state that is not final.
    """
    is_open = Submission.state.in_(sorted(_OPEN))
    has_open = exists().where(Submission.event_id == Event.id, is_open)
    query = select(Event.name, clock.now(), Event.opening_at, Event.closing_at, has_open)
    return {
        name: EventSchedule(now, opening_at, closing_at, is_busy)
        for name, now, opening_at, closing_at, is_busy in session.execute(query)
    }
