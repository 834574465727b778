"""The version of the tables, and how they get from one to the next."""

from __future__ import annotations

import threading
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from ramp_database.errors import SchemaError

#: The revision that this program needs: the newest of ``migrations/versions``.
HEAD = "0008"

_DIRECTORY = Path(__file__).parent / "migrations"
_VERSION_TABLE = "alembic_version"
# "ramp" in ASCII: upgrades of one database wait for each other
_ADVISORY_LOCK = 0x72616D70
# Alembic's context is a module global
_lock = threading.Lock()


def revision(connection: Connection) -> str | None:
    """Tell the revision of the tables, None when there are none.

    Raises
    ------
    DBAPIError
        The database cannot be read.
    """
    if not inspect(connection).has_table(_VERSION_TABLE):
        return None
    query = text(f"SELECT version_num FROM {_VERSION_TABLE}")  # noqa: S608  a constant of ours
    found: str | None = connection.scalar(query)
    return found


def is_empty(connection: Connection) -> bool:
    """Tell whether the database has no tables at all."""
    return not inspect(connection).get_table_names()


def upgrade(connection: Connection) -> None:
    """Bring the tables to `HEAD`, inside the transaction that `connection` is in.

    Raises
    ------
    SchemaError
        The tables are of a revision that this program does not know.
    DBAPIError
        The database refused.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(_DIRECTORY).replace("%", "%%"))
    config.attributes["connection"] = connection
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    try:
        with _lock:
            command.upgrade(config, "head")
    except CommandError as error:
        label = connection.engine.url.render_as_string(hide_password=True)
        raise SchemaError(label, revision(connection), HEAD) from error
