"""What an attempt notes when it starts: the bundle that it is trained with, how it is confined."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = ("bundle_hash", "sandbox")


def upgrade() -> None:
    """Add the columns; NULL for the attempts of earlier releases."""
    for name in _COLUMNS:
        op.add_column("attempts", sa.Column(name, sa.Text(), nullable=True))


def downgrade() -> None:
    """Take them away."""
    for name in reversed(_COLUMNS):
        op.drop_column("attempts", name)
