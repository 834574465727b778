"""Dispatchers: who claims submissions, and the proof that they live."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from ramp_database.model.base import Base


class Dispatcher(Base):
    """A process that claims and runs the submissions of one event."""

    __tablename__ = "dispatchers"
    __table_args__ = (
        Index("ix_dispatchers_live", "event_id", "ended_at"),
        {"sqlite_autoincrement": True},  # a number is a token: never used again
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    host: Mapped[str]
    pid: Mapped[int]
    #: Its slots; NULL when it was registered by a release that did not tell.
    n_workers: Mapped[int | None]
    #: Its heartbeat counts as interrupted when it is older than that.
    stale_after_seconds: Mapped[float]
    started_at: Mapped[datetime]
    #: The last heartbeat.
    beat_at: Mapped[datetime]
    #: Since when the heartbeat has had no gap: only a dispatcher that is steady may rescue.
    steady_since: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    ended_reason: Mapped[str | None]
