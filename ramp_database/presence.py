"""Which dispatchers live, by their heartbeats and the database's clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Dispatcher

__all__ = ["Presence", "of_event", "of_numbers"]

_COLUMNS = [
    getattr(Dispatcher, name)
    for name in ("id", "host", "pid", "started_at", "ended_at", "ended_reason", "beat_at")
]


@dataclass(frozen=True)
class Presence:
    """What is known of a dispatcher's life."""

    id: int
    host: str
    pid: int
    started_at: datetime
    ended_at: datetime | None  #: when it ended, or was ended by another that found it stale
    ended_reason: str | None
    beat_at: datetime  #: its last heartbeat
    silent_seconds: float  #: since its last heartbeat
    stale_after_seconds: float  #: a longer silence counts as death

    @property
    def is_live(self) -> bool:
        """Whether it has not ended and its heartbeat is fresh."""
        return self.ended_at is None and not self.is_stale

    @property
    def is_stale(self) -> bool:
        """Whether it gives no sign of life, though nobody has said that it ended."""
        return self.ended_at is None and self.silent_seconds > self.stale_after_seconds


def of_event(session: Session, event_id: int) -> list[Presence]:
    """List the dispatchers of an event that nobody has said to have ended, the oldest first."""
    query = select(*_COLUMNS, Dispatcher.stale_after_seconds, clock.now()).where(
        Dispatcher.event_id == event_id, Dispatcher.ended_at.is_(None)
    )
    return [_presence(row) for row in session.execute(query.order_by(Dispatcher.id))]


def of_numbers(session: Session, numbers: Collection[int]) -> dict[int, Presence]:
    """Give dispatchers by their numbers; one whose row is gone is left out."""
    if not numbers:
        return {}
    query = select(*_COLUMNS, Dispatcher.stale_after_seconds, clock.now())
    rows = session.execute(query.where(Dispatcher.id.in_(numbers)).order_by(Dispatcher.id))
    return {found.id: found for found in map(_presence, rows)}


def _presence(row: Row[tuple[object, ...]]) -> Presence:
    *columns, stale_after_seconds, now = row
    silent_seconds = max(0.0, (now - columns[-1]).total_seconds())
    return Presence(*columns, silent_seconds, stale_after_seconds)
