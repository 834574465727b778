"""Copy a deployment's database from SQLite to PostgreSQL."""

from __future__ import annotations

from sqlalchemy import Table, func, insert, select, text
from sqlalchemy.orm import Session

from ramp_database import events, presence
from ramp_database.errors import DatabaseError
from ramp_database.model import Base, Event, User
from ramp_database.session import Database

__all__ = ["copy_everything"]

_ROWS_AT_ONCE = 200


def copy_everything(source: Database, target: Database) -> dict[str, int]:
    """Copy all rows of a database into an empty one.

    Parameters
    ----------
    source : Database
        SQLite. It is read in one transaction, and not changed.
    target : Database
        PostgreSQL, with nothing at all, or the tables of this version and nothing in them.

    Returns
    -------
    dict of int
        How many rows of each table there are.

    Raises
    ------
    DatabaseError
        They are of other kinds, `target` is not empty, or a dispatcher works on `source`, whose
        results would be missing.
    SchemaError
        `target` has other tables, which stay as they are.

    Notes
    -----
    One transaction: all is there, or nothing. Numbers that were used and deleted are not used
    again in `target` either, since they name directories.
    """
    kinds = [one.engine.dialect.name for one in (source, target)]
    if kinds != ["sqlite", "postgresql"]:
        raise DatabaseError(f"from {kinds[0]} to {kinds[1]}: only SQLite is copied to PostgreSQL")
    if target.is_empty():
        target.upgrade()
    with source.session(read_only=True) as reading, target.session() as writing:
        _check_idle(reading)
        if any(writing.scalar(select(table.id).limit(1)) for table in (Event, User)):
            raise DatabaseError(f"{target.label} is not empty: nothing was copied")
        tables = Base.metadata.sorted_tables
        counts = {table.name: _copy(reading, writing, table) for table in tables}
        for table in tables:
            if table.primary_key.columns.keys() == ["id"]:
                _carry_number(reading, writing, table)
    return counts


def _check_idle(session: Session) -> None:
    for event in events.list_events(session):
        for one in presence.of_event(session, event.id):
            if one.is_live:
                raise DatabaseError(
                    f"dispatcher {one.id} ({one.host}, process {one.pid}) works on {event.name}: "
                    "stop it first, and the daemon that starts it; nothing was copied"
                )


def _copy(reading: Session, writing: Session, table: Table) -> int:
    n_rows = 0
    found = reading.execute(select(table).execution_options(yield_per=_ROWS_AT_ONCE))
    for part in found.mappings().partitions():
        writing.execute(insert(table), [dict(row) for row in part])
        n_rows += len(part)
    return n_rows


def _carry_number(reading: Session, writing: Session, table: Table) -> None:
    """Go on with the number after the last that was ever used, as far as SQLite remembers it."""
    last = reading.scalar(select(func.max(table.columns.id))) or 0
    remembered = text("SELECT seq FROM sqlite_sequence WHERE name = :name")
    last = max(last, reading.scalar(remembered, {"name": table.name}) or 0)
    if last:
        sequence = text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :last)")
        writing.execute(sequence, {"name": table.name, "last": last})
