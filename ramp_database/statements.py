"""Running statements that change rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import CursorResult, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from ramp_database.model import Base


def count_changed(session: Session, statement: UpdateBase) -> int:
    """Run an UPDATE or DELETE, and tell how many rows it changed.

    Notes
    -----
    Rows that the session has loaded before are not brought up to date: read them anew.
    """
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount


def insert_rows(session: Session, table: type[Base], rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows whose values may be SQL expressions, in one statement.

    Notes
    -----
    A statement for one row, which is the common case, is compiled once and then kept; one for
    several is compiled each time.
    """
    values = rows[0] if len(rows) == 1 else list(rows)
    session.execute(insert(table).values(values))
