"""Dispatchers: they register, beat, and deregister.

A dispatcher proves that it lives by its heartbeat. What one left behind that is dead, or that
ended, is taken back by `ramp_database.queue.rescue`.
"""

from __future__ import annotations

from sqlalchemy import case, select, update
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Dispatcher
from ramp_database.statements import count_changed

#: The heartbeat counts as interrupted when it is older than that, in seconds.
STALE_AFTER_SECONDS = 60.0


def register(
    session: Session,
    event_id: int,
    host: str,
    pid: int,
    *,
    n_workers: int = 1,
    stale_after_seconds: float = STALE_AFTER_SECONDS,
) -> int:
    """Register a dispatcher; this is its first heartbeat.

    Parameters
    ----------
    session : Session
    event_id : int
    host : str
        Name of its machine.
    pid : int
        Its process there.
    n_workers : int
        Its slots, for estimates of when a submission will start.
    stale_after_seconds : float
        A pause between two heartbeats that is longer than that is a gap, after which it must
        beat for as long before it rescues others. The value that `rescue` gets is the same.

    Returns
    -------
    int
        Its number.
    """
    now = clock.read(session)
    dispatcher = Dispatcher(
        event_id=event_id,
        host=host,
        pid=pid,
        n_workers=n_workers,
        stale_after_seconds=stale_after_seconds,
        started_at=now,
        beat_at=now,
        steady_since=now,
    )
    session.add(dispatcher)
    session.flush()
    return dispatcher.id


def beat(session: Session, dispatcher_id: int) -> bool:
    """Write a heartbeat.

    Returns
    -------
    bool
        False when the dispatcher was ended by another, who found its heartbeat stale, or its event
        was deleted: nothing that it owned is its own any more.

    Notes
    -----
    One statement.
    """
    now, earliest = clock.now(), clock.now(-Dispatcher.stale_after_seconds)
    statement = (
        update(Dispatcher)
        .where(Dispatcher.id == dispatcher_id, Dispatcher.ended_at.is_(None))
        .values(
            beat_at=now,
            steady_since=case((Dispatcher.beat_at < earliest, now), else_=Dispatcher.steady_since),
        )
    )
    return count_changed(session, statement) == 1


def deregister(session: Session, dispatcher_id: int, reason: str = "ended") -> None:
    """Record that a dispatcher ended; what it still owns may be rescued at once."""
    statement = (
        update(Dispatcher)
        .where(Dispatcher.id == dispatcher_id, Dispatcher.ended_at.is_(None))
        .values(ended_at=clock.now(), ended_reason=reason)
    )
    count_changed(session, statement)


def live(
    session: Session, event_id: int, stale_after_seconds: float = STALE_AFTER_SECONDS
) -> list[Dispatcher]:
    """List the dispatchers of an event whose heartbeat is fresh, the oldest first."""
    query = (
        select(Dispatcher)
        .where(Dispatcher.event_id == event_id, Dispatcher.ended_at.is_(None))
        .where(Dispatcher.beat_at >= clock.now(-stale_after_seconds))
        .order_by(Dispatcher.id)
    )
    return list(session.scalars(query.execution_options(populate_existing=True)))
