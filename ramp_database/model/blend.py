"""What came of blending the submissions of an event."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from ramp_database.model.base import Base


class EventBlend(Base):
    """The newest blend of an event; scores are NULL when they are no finite number."""

    __tablename__ = "event_blends"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    computed_at: Mapped[datetime]
    #: Hash of all that it depends on: with the same there is nothing to compute.
    inputs_hash: Mapped[str]
    #: How many submissions it was made of.
    n_submissions: Mapped[int]
    #: Name of the score type; the official one of that time.
    score_type: Mapped[str]
    #: Bagged scores of the blends of the folds.
    combined_valid: Mapped[float | None]
    combined_test: Mapped[float | None]
    #: Bagged scores of the best single submissions of the folds.
    foldwise_best_valid: Mapped[float | None]
    foldwise_best_test: Mapped[float | None]


class Contributivity(Base):
    """The share of a submission in the newest blend of its event.

    A table of its own: writing it locks no row of the queue.
    """

    __tablename__ = "contributivities"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    #: The attempt whose predictions were blended; it does not hold for another.
    attempt: Mapped[int]
    percent: Mapped[float]
