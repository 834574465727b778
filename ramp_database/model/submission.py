"""Submissions, with their files, attempts, scores and history."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ramp_database.model.base import Base
from ramp_database.model.column_types import enum_column
from ramp_database.model.event import Event
from ramp_database.model.people import Team
from ramp_database.states import State


def _scored_index(name: str, *columns: str) -> Index:
    """Index the scored submissions only: the others have no place in a ranking."""
    ranked = text(f"{columns[-1]} IS NOT NULL")
    return Index(name, *columns, "submitted_at", "id", sqlite_where=ranked, postgresql_where=ranked)


class Submission(Base):
    """A team's code for an event, and where it stands.

    `ramp_database.queue` is the only writer of `state` and of what goes with it. (owner, attempt)
    is the token of a claim.
    """

    __tablename__ = "submissions"
    __table_args__ = (
        UniqueConstraint("event_id", "team_id", "name"),
        Index("ix_submissions_queue", "event_id", "state", "team_id", "submitted_at", "id"),
        Index("ix_submissions_newest", "event_id", "id"),
        Index("ix_submissions_team_claimed", "event_id", "team_id", "claimed_at"),
        Index("ix_submissions_team_submitted", "event_id", "team_id", "submitted_at"),
        Index("ix_submissions_team_id", "team_id"),
        Index(
            "ix_submissions_owner",
            "dispatcher_id",
            sqlite_where=text("dispatcher_id IS NOT NULL"),
            postgresql_where=text("dispatcher_id IS NOT NULL"),
        ),
        _scored_index("ix_submissions_public", "event_id", "public_order"),
        _scored_index("ix_submissions_private", "event_id", "private_order"),
        _scored_index("ix_submissions_team_public", "event_id", "team_id", "public_order"),
        _scored_index("ix_submissions_team_private", "event_id", "team_id", "private_order"),
        # a number names directories: it is not used again after an event was deleted
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    event_id: Mapped[int] = mapped_column(ForeignKey("events.id", ondelete="CASCADE"))
    team_id: Mapped[int] = mapped_column(ForeignKey("teams.id"))
    #: Who of the team; NULL when it is not known.
    user_id: Mapped[int | None] = mapped_column(ForeignKey("users.id", ondelete="SET NULL"))
    name: Mapped[str]
    submitted_at: Mapped[datetime]
    #: sha256 over names and contents of the files.
    content_hash: Mapped[str]

    state: Mapped[State] = mapped_column(enum_column(State))
    #: Number of the newest attempt, 0 before the first claim.
    attempt: Mapped[int] = mapped_column(default=0)
    #: Crashes of ours since it was submitted or reopened.
    n_crashes: Mapped[int] = mapped_column(default=0)
    #: Times it was given back since it was submitted or reopened.
    n_interruptions: Mapped[int] = mapped_column(default=0)
    #: The owner; NULL unless it is claimed.
    dispatcher_id: Mapped[int | None] = mapped_column(ForeignKey("dispatchers.id"))
    #: When it was last claimed: its team's turn; NULL before the first claim.
    claimed_at: Mapped[datetime | None]
    #: It is not claimed before that time.
    not_before: Mapped[datetime | None]
    #: When it was asked to be canceled while a dispatcher owned it.
    cancel_requested_at: Mapped[datetime | None]
    cancel_reason: Mapped[str | None]
    #: Why it failed, for its team.
    error: Mapped[str | None]
    #: Verdict on the newest attempt that ended.
    outcome: Mapped[str | None]

    #: Official bagged scores as they are; NULL unless scored, or when it is not a finite number.
    public_score: Mapped[float | None]
    private_score: Mapped[float | None]
    #: The same with the lower the better, and the largest float for none: one direction to
    #: sort by, whatever the score type and the database; NULL unless scored.
    public_order: Mapped[float | None]
    private_order: Mapped[float | None]
    #: Sums over folds.
    train_seconds: Mapped[float | None]
    valid_seconds: Mapped[float | None]
    test_seconds: Mapped[float | None]

    event: Mapped[Event] = relationship()
    team: Mapped[Team] = relationship(lazy="joined", innerjoin=True)


class SubmissionFile(Base):
    """A file of a submission."""

    __tablename__ = "submission_files"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    #: Relative, with slashes.
    path: Mapped[str] = mapped_column(primary_key=True)
    content: Mapped[bytes] = mapped_column(LargeBinary)


class Attempt(Base):
    """One run of a submission, from its claim on."""

    __tablename__ = "attempts"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    #: From 1.
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: Whose it is or was last. No foreign key: history does not hinder deleting.
    dispatcher_id: Mapped[int]
    claimed_at: Mapped[datetime]
    #: When its folds started; written when it ends, until then only its history says it.
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    outcome: Mapped[str | None]
    error: Mapped[str | None]
    #: By which another dispatcher can find the run again.
    handle: Mapped[str | None]
    #: Name of the bundle that its folds are trained with; NULL before they start.
    bundle_hash: Mapped[str | None]
    #: How the submission is confined, such as ``namespaces``; NULL before its folds start, and
    #: where its worker does not say.
    confinement: Mapped[str | None]
    #: What it was evaluated with (`ramp_database.provenance`), written when it ends; NULL where
    #: that is not known.
    provenance: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    #: The public scores of the folds that are done (`ramp_database.partial`); NULL before the first
    #: is scored, and once the attempt has ended.
    partial: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class ComputeHour(Base):
    """The compute seconds of a team that one dispatcher recorded within an hour.

    Kept by the hour, so that what a team used lately is the sum of a few rows; by dispatcher, so
    that transactions of several never wait for each other.
    """

    __tablename__ = "compute_hours"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    team_id: Mapped[int] = mapped_column(
        ForeignKey("teams.id", ondelete="CASCADE"), primary_key=True
    )
    #: Hours since 1970, of the end of the attempts.
    hour: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    #: No foreign key, as in `Attempt`.
    dispatcher_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seconds: Mapped[float]


class EndedCount(Base):
    """How many submissions of an event one dispatcher brought to a final state, less reopened ones.

    The sum over the dispatchers is the number in that state: to count a million rows takes long.
    By dispatcher, so that transactions of several never wait for each other.
    """

    __tablename__ = "ended_counts"

    event_id: Mapped[int] = mapped_column(
        ForeignKey("events.id", ondelete="CASCADE"), primary_key=True
    )
    state: Mapped[State] = mapped_column(enum_column(State), primary_key=True)
    #: 0 for an organiser or a team, whose share may be negative. No foreign key, as in `Attempt`.
    dispatcher_id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    n: Mapped[int]


class SubmissionEvent(Base):
    """A step in the life of a submission."""

    __tablename__ = "submission_events"
    __table_args__ = (Index("ix_submission_events_submission_id", "submission_id", "id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id", ondelete="CASCADE"))
    at: Mapped[datetime]
    #: NULL for the first.
    from_state: Mapped[State | None] = mapped_column(enum_column(State))
    to_state: Mapped[State] = mapped_column(enum_column(State))
    attempt: Mapped[int]
    #: Who did it; NULL for a participant or an organiser. No foreign key, as in `Attempt`.
    dispatcher_id: Mapped[int | None]
    reason: Mapped[str | None]


class FoldScore(Base):
    """The scores of one fold by one score type; NULL when it is not a finite number."""

    __tablename__ = "fold_scores"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    fold: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    score_type_id: Mapped[int] = mapped_column(
        ForeignKey("score_types.id", ondelete="CASCADE"), primary_key=True
    )
    train: Mapped[float | None]
    valid: Mapped[float | None]
    test: Mapped[float | None]


class FoldTime(Base):
    """How long one fold took."""

    __tablename__ = "fold_times"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    fold: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    train_seconds: Mapped[float | None]
    valid_seconds: Mapped[float | None]
    test_seconds: Mapped[float | None]


class BaggedScore(Base):
    """The scores of a submission by one score type: bagged, and over its folds.

    `*_mean` and `*_std` are mean and sample standard deviation of the folds' scores (0 for one
    fold); NULL when one of them is not a finite number.
    """

    __tablename__ = "bagged_scores"

    submission_id: Mapped[int] = mapped_column(
        ForeignKey("submissions.id", ondelete="CASCADE"), primary_key=True
    )
    score_type_id: Mapped[int] = mapped_column(
        ForeignKey("score_types.id", ondelete="CASCADE"), primary_key=True
    )
    valid_bag: Mapped[float | None]
    valid_mean: Mapped[float | None]
    valid_std: Mapped[float | None]
    test_bag: Mapped[float | None]
    test_mean: Mapped[float | None]
    test_std: Mapped[float | None]
