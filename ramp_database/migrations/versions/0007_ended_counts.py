"""What a status needs: how many submissions are in each final state, and the newest ones."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_FINAL = (
    "scored",
    "training_error",
    "validating_error",
    "testing_error",
    "checking_error",
    "canceled",
)


def upgrade() -> None:
    """Add table and index, and count what has ended, as if no dispatcher had brought it there."""
    op.create_table(
        "ended_counts",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("dispatcher_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_ended_counts_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("event_id", "state", "dispatcher_id", name=op.f("pk_ended_counts")),
    )
    op.create_index("ix_submissions_newest", "submissions", ["event_id", "id"])
    submissions = sa.table("submissions", sa.column("event_id"), sa.column("state"))
    counted = (
        sa.select(submissions.c.event_id, submissions.c.state, sa.literal(0), sa.func.count())
        .where(submissions.c.state.in_(_FINAL))
        .group_by(submissions.c.event_id, submissions.c.state)
    )
    ended = sa.table(
        "ended_counts", *(sa.column(name) for name in ("event_id", "state", "dispatcher_id", "n"))
    )
    op.execute(sa.insert(ended).from_select(["event_id", "state", "dispatcher_id", "n"], counted))


def downgrade() -> None:
    """Take them away."""
    op.drop_index("ix_submissions_newest", "submissions")
    op.drop_table("ended_counts")
