"""Running statements that change rows.

To make a statement takes SQLAlchemy as long as the database needs for it. What every submission
goes through is therefore made once, with parameters, and kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, cast

from sqlalchemy import CursorResult, Insert, Table, insert
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase

from ramp_database import clock
from ramp_database.model import Base


def count_changed(
    session: Session, statement: UpdateBase, parameters: Mapping[str, Any] | None = None
) -> int:
    """Run an UPDATE or DELETE, and tell how many rows it changed.

    Notes
    -----
    Rows that the session has loaded before are not brought up to date: read them anew.
    """
    options = {"synchronize_session": False}
    result = session.execute(statement, parameters, execution_options=options)
    return cast("CursorResult[Any]", result).rowcount


def insert_rows(
    session: Session,
    table: type[Base],
    rows: Sequence[dict[str, Any]],
    now_in: str | None = None,
) -> None:
    """Insert rows in one statement, which is compiled once and then kept.

    Parameters
    ----------
    session : Session
    table : type
    rows : sequence of dict
        Values by column; the same columns in each.
    now_in : str, optional
        The column that gets the database's time.
    """
    session.execute(_inserting(table, now_in), list(rows))


@cache
def _inserting(table: type[Base], now_in: str | None) -> Insert:
    statement = insert(cast("Table", table.__table__))
    return statement if now_in is None else statement.values({now_in: clock.now()})
