"""Events, with their score types, folds and sign-ups."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, LargeBinary, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ramp_database.model.base import Base
from ramp_database.model.problem import Problem


class Event(Base):
    """A challenge that is held once."""

    __tablename__ = "events"
    #: A dispatcher knows its event by its number: never used again.
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    problem_id: Mapped[int] = mapped_column(ForeignKey("problems.id"), index=True)
    title: Mapped[str]
    is_public: Mapped[bool]
    #: The event's config.yml, as given when it was deployed.
    config_path: Mapped[str]
    #: Which part of the data, for kits that take a ``data_label``.
    data_label: Mapped[str | None]
    #: Names of the files that a submission must have.
    required_files: Mapped[list[str]] = mapped_column(JSON)
    n_folds: Mapped[int]
    n_train: Mapped[int]
    #: NULL when the data has no test labels.
    n_test: Mapped[int | None]
    #: Name of the bundle: a hash over the four that follow.
    bundle_hash: Mapped[str]
    kit_hash: Mapped[str]
    data_hash: Mapped[str]
    folds_hash: Mapped[str]
    environment_hash: Mapped[str]
    created_at: Mapped[datetime]

    #: Submissions are taken from then on; NULL: from its deployment on.
    opening_at: Mapped[datetime | None]
    #: Submissions are taken until then; NULL: without end.
    closing_at: Mapped[datetime | None]
    #: Of a team, in any 24 hours; NULL: not limited.
    max_submissions_per_day: Mapped[int | None]
    #: Between two submissions of a team; NULL: not limited.
    min_seconds_between_submissions: Mapped[float | None]
    #: Of all files of a submission together, in MB of 1024 KB; NULL: what any event takes.
    max_submission_mb: Mapped[float | None]
    #: For so many hours the compute seconds of a team count in the queue; NULL: 24.
    fair_share_window_hours: Mapped[int | None]

    problem: Mapped[Problem] = relationship(lazy="joined", innerjoin=True)
    #: The official score type first.
    score_types: Mapped[list[ScoreType]] = relationship(
        lazy="selectin", order_by="ScoreType.position", passive_deletes=True
    )


class ScoreType(Base):
    """A measure of an event; the one at position 0 is official: it ranks."""

    __tablename__ = "score_types"
    __table_args__ = (
        UniqueConstraint("event_id", "name"),
        UniqueConstraint("event_id", "position"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str]
    #: Digits after the point in tables.
    precision: Mapped[int]
    is_lower_the_better: Mapped[bool]
    #: Bounds of the score; NULL stands for none.
    minimum: Mapped[float | None]
    maximum: Mapped[float | None]


class Fold(Base):
    """The division of an event's training data into rows to train on and rows to validate on."""

    __tablename__ = "folds"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    #: From 0.
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n_train: Mapped[int]
    n_valid: Mapped[int]
    #: The bytes of ``folds/fold_<number>.npz``: the row indices.
    indices: Mapped[bytes] = mapped_column(LargeBinary)


class EventTeam(Base):
    """A team's sign-up for an event."""

    __tablename__ = "event_teams"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    team_id: Mapped[int] = mapped_column(
        ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True, index=True
    )
    signed_up_at: Mapped[datetime]
