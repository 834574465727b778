"""What submissions contribute to the blend of their event."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables; they are empty until the first blend."""
    op.create_table(
        "event_blends",
        sa.Column("event_id", sa.Integer(), nullable=False),
        sa.Column("computed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("inputs_hash", sa.Text(), nullable=False),
        sa.Column("n_submissions", sa.Integer(), nullable=False),
        sa.Column("score_type", sa.Text(), nullable=False),
        sa.Column("combined_valid", sa.Double(), nullable=True),
        sa.Column("combined_test", sa.Double(), nullable=True),
        sa.Column("foldwise_best_valid", sa.Double(), nullable=True),
        sa.Column("foldwise_best_test", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["events.id"],
            name=op.f("fk_event_blends_event_id_events"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_event_blends")),
    )
    op.create_table(
        "contributivities",
        sa.Column("submission_id", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["submission_id"],
            ["submissions.id"],
            name=op.f("fk_contributivities_submission_id_submissions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("submission_id", name=op.f("pk_contributivities")),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("contributivities")
    op.drop_table("event_blends")
