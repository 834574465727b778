"""What the errors of SQLAlchemy and of its drivers mean to us."""

from __future__ import annotations

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ramp_database.errors import DatabaseError, DatabaseUnavailableError, SchemaError
from ramp_database.schema import HEAD

# https://www.postgresql.org/docs/current/errcodes-appendix.html
_MISSING_TABLE_OR_COLUMN = frozenset({"42P01", "42703"})
_MISSING_ON_SQLITE = ("no such table", "no such column", "has no column named")


def translated(error: SQLAlchemyError, label: str) -> DatabaseError:
    """Give our error for one of SQLAlchemy's.

    Parameters
    ----------
    error : SQLAlchemyError
    label : str
        The database, with the password masked.

    Returns
    -------
    DatabaseError
        `SchemaError` for a missing table or column, `DatabaseUnavailableError` where trying again
        may help, the base class otherwise.
    """
    if _is_schema_error(error):
        return SchemaError(label, None, HEAD)
    if _is_unavailable(error):
        return DatabaseUnavailableError(label, _reason(error))
    return DatabaseError(f"the database {label} refused: {_reason(error)}")


def _is_schema_error(error: SQLAlchemyError) -> bool:
    if not isinstance(error, DBAPIError):
        return False
    if isinstance(error.orig, sqlite3.OperationalError):
        return any(words in str(error.orig) for words in _MISSING_ON_SQLITE)
    return getattr(error.orig, "sqlstate", None) in _MISSING_TABLE_OR_COLUMN


def _is_unavailable(error: SQLAlchemyError) -> bool:
    if isinstance(error, OperationalError | InterfaceError | PoolTimeoutError):
        return True
    if not isinstance(error, DBAPIError):
        return False
    # "file is not a database" and "database disk image is malformed" are of no finer class
    is_broken_file = type(error.orig) is sqlite3.DatabaseError
    return error.connection_invalidated or is_broken_file


def _reason(error: SQLAlchemyError) -> str:
    """Give what the driver said, in one line."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    lines = str(origin).strip().splitlines()
    return lines[0].strip() if lines else type(origin).__name__
