"""Running statements that change rows."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import UpdateBase


def count_changed(session: Session, statement: UpdateBase) -> int:
    """Run an UPDATE or DELETE, and tell how many rows it changed.

    Notes
    -----
    Rows that the session has loaded before are not brought up to date: read them anew.
    """
    result = session.execute(statement, execution_options={"synchronize_session": False})
    return cast("CursorResult[Any]", result).rowcount
