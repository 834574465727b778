"""Running statements that change rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Table, insert
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


def insert_rows(
    session: Session,
    table: type[Base],
    rows: Sequence[dict[str, Any]],
    **computed: ColumnElement[Any],
) -> None:
    """Insert rows in one statement, which is compiled once and then kept.

    Parameters
    ----------
    session : Session
    table : type
    rows : sequence of dict
        Values by column; the same columns in each.
    **computed : ColumnElement
        The columns that the database computes, alike for all rows.
    """
    statement = insert(cast("Table", table.__table__)).values(computed)
    session.execute(statement, list(rows))
