"""What adopting a run needs: the bundle that an attempt is trained with."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; NULL for the attempts of earlier releases, which are not adopted."""
    op.add_column("attempts", sa.Column("bundle_hash", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("attempts", "bundle_hash")
