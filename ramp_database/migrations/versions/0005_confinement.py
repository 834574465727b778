"""How the submission of each attempt was confined."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; NULL for the attempts of earlier releases, whose history may say it."""
    op.add_column("attempts", sa.Column("confinement", sa.Text(), nullable=True))


def downgrade() -> None:
    """Take it away."""
    op.drop_column("attempts", "confinement")
