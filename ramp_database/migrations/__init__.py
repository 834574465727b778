"""Alembic's migrations, applied by `ramp_database.schema.upgrade`."""
