"""What scores can be verified by: the hashes of what an attempt was evaluated with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; NULL for the attempts of earlier releases, of which nothing is known."""
    op.add_column("attempts", sa.Column("provenance", sa.JSON(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("attempts", "provenance")
