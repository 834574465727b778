"""Which dispatchers live, by their heartbeats and the database's clock."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import RowMapping, Select, select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Dispatcher

__all__ = ["Presence", "of_event", "of_numbers"]

_NAMES = ("id", "host", "pid", "started_at", "ended_at", "ended_reason", "beat_at")
_COLUMNS = [getattr(Dispatcher, name) for name in (*_NAMES, "stale_after_seconds")]


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
    stale_after_seconds: float  #: a longer silence counts as death
    silent_seconds: float  #: since its last heartbeat

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
    query = _query().where(Dispatcher.event_id == event_id, Dispatcher.ended_at.is_(None))
    return list(map(_presence, session.execute(query.order_by(Dispatcher.id)).mappings()))


def of_numbers(session: Session, numbers: Collection[int]) -> dict[int, Presence]:
    """Give dispatchers by their numbers; one whose row is gone is left out."""
    if not numbers:
        return {}
    rows = session.execute(_query().where(Dispatcher.id.in_(numbers))).mappings()
    return {found.id: found for found in map(_presence, rows)}


def _query() -> Select[Any]:
    return select(*_COLUMNS, clock.now().label("now"))


def _presence(row: RowMapping) -> Presence:
    columns = dict(row)
    silence = columns.pop("now") - columns["beat_at"]
    return Presence(**columns, silent_seconds=max(0.0, silence.total_seconds()))
