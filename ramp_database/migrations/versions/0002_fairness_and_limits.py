"""What fair turns, limits and estimates need: an event's limits, a team's compute, slots.

Every new column may be NULL: SQLite then adds it without making the table anew, and rows of the
first release stay as they are. Compute seconds count from the upgrade on.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COLUMNS: tuple[tuple[str, str, sa.types.TypeEngine[Any]], ...] = (
    ("events", "opening_at", sa.DateTime(timezone=True)),
    ("events", "closing_at", sa.DateTime(timezone=True)),
    ("events", "max_submissions_per_day", sa.Integer()),
    ("events", "min_seconds_between_submissions", sa.Double()),
    ("events", "max_submission_mb", sa.Double()),
    ("events", "fair_share_window_hours", sa.Integer()),
    ("dispatchers", "n_workers", sa.Integer()),
    ("submissions", "claimed_at", sa.DateTime(timezone=True)),
)
_QUEUE = "ix_submissions_queue"
_TEAM_INDEXES = {
    "ix_submissions_team_claimed": ["event_id", "team_id", "claimed_at"],
    "ix_submissions_team_submitted": ["event_id", "team_id", "submitted_at"],
}


def upgrade() -> None:
    """Add the columns, the indexes and the table."""
    for table, name, kind in _COLUMNS:
        op.add_column(table, sa.Column(name, kind, nullable=True))
    op.drop_index(_QUEUE, "submissions")
    op.create_index(_QUEUE, "submissions", ["event_id", "state", "team_id", "submitted_at", "id"])
    for name, columns in _TEAM_INDEXES.items():
        op.create_index(name, "submissions", columns)
    op.create_table(
        "compute_hours",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("team_id", sa.Integer(), nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("dispatcher_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_compute_hours_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["team_id"],
            ["teams.id"],
            name=op.f("fk_compute_hours_team_id_teams"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint(
            "event_id", "team_id", "hour", "dispatcher_id", name=op.f("pk_compute_hours")
        ),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("compute_hours")
    for name in _TEAM_INDEXES:
        op.drop_index(name, "submissions")
    op.drop_index(_QUEUE, "submissions")
    op.create_index(_QUEUE, "submissions", ["event_id", "state", "submitted_at", "id"])
    for table, name, _ in reversed(_COLUMNS):
        op.drop_column(table, name)
