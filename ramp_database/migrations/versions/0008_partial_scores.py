"""Public scores of the folds that are done while others of their attempt run."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; no attempt has any yet."""
    op.add_column("attempts", sa.Column("partial", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("attempts", "partial")
