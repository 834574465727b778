"""What Alembic runs to migrate the connection that it was given."""

from __future__ import annotations

from alembic import context

from ramp_database.model import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=context.config.attributes.get("metadata", Base.metadata),
    render_item=context.config.attributes.get("render_item"),
    compare_type=True,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
