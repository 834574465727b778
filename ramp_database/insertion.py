"""Adding a row whose name may be taken."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ramp_database.errors import AlreadyExistsError
from ramp_database.model import Base


def insert_named(session: Session, row: Base, kind: str, name: str, hint: str = "") -> None:
    """Insert a row; the transaction goes on when its name is taken.

    Raises
    ------
    AlreadyExistsError
        There is a row of that name, however short a time ago it was made.
    """
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError as error:
        raise AlreadyExistsError(kind, name, hint) from error
