"""The database's clock: one expression for every time that is written or compared.

Processes on several machines disagree about the time; the database they share does not. Nothing in
this package reads the clock of its own machine.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, Float, bindparam, cast, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute, Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from ramp_database.model.column_types import UTCDateTime

_offset_lock = threading.Lock()
_offset_seconds = 0.0


class _Now(FunctionElement[datetime]):
    """The start of the statement, moved by the seconds that are its only argument."""

    name = "ramp_now"
    type = UTCDateTime()
    inherit_cache = True


@compiles(_Now, "sqlite")
def _now_on_sqlite(element: _Now, compiler: SQLCompiler, **kwargs: Any) -> str:
    # SQLite knows milliseconds; the zeros make the text compare with what a parameter stores
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', printf('%+.3f seconds', {seconds})) || '000')"


@compiles(_Now, "postgresql")
def _now_on_postgresql(element: _Now, compiler: SQLCompiler, **kwargs: Any) -> str:
    seconds = compiler.process(element.clauses, **kwargs)
    return f"(statement_timestamp() + make_interval(secs => {seconds}))"


def now(after_seconds: float | ColumnElement[float] = 0.0) -> ColumnElement[datetime]:
    """Give the SQL expression of the database's time.

    Parameters
    ----------
    after_seconds : float or ColumnElement, default=0.0
        Seconds that are added; negative for the past.

    Returns
    -------
    ColumnElement
        Aware UTC, the same for a whole statement; whole milliseconds on SQLite, microseconds on
        PostgreSQL. It may be used again: the offset of `shifted` is taken when it is executed.
    """
    offset = bindparam("offset", callable_=_offset, type_=Float(53), unique=True)
    seconds = offset + after_seconds
    return _Now(cast(seconds, Float(53)))


def _offset() -> float:
    return _offset_seconds


class _Epoch(FunctionElement[float]):
    """The seconds from 1970 to the time that is its only argument."""

    name = "ramp_epoch"
    type = Double()
    inherit_cache = True


@compiles(_Epoch, "sqlite")
def _epoch_on_sqlite(element: _Epoch, compiler: SQLCompiler, **kwargs: Any) -> str:
    time = compiler.process(element.clauses, **kwargs)
    return f"((julianday({time}) - 2440587.5) * 86400.0)"


@compiles(_Epoch, "postgresql")
def _epoch_on_postgresql(element: _Epoch, compiler: SQLCompiler, **kwargs: Any) -> str:
    time = compiler.process(element.clauses, **kwargs)
    return f"(extract(epoch from {time})::double precision)"


def epoch(time: ColumnElement[datetime] | InstrumentedAttribute[Any]) -> ColumnElement[float]:
    """Give the SQL expression of the seconds from 1970 to a time, to the millisecond."""
    return _Epoch(time)


def hour() -> ColumnElement[int]:
    """Give the SQL expression of the hours from 1970 to now, as a whole number."""
    return cast(epoch(now()), BigInteger) // 3600


def read(session: Session) -> datetime:
    """Ask the database for its time, aware UTC."""
    return session.execute(select(now())).scalar_one()


@contextmanager
def shifted(seconds: float) -> Iterator[None]:
    """Move the clock of this process by some seconds, for tests.

    Parameters
    ----------
    seconds : float
        Added to every time that statements executed inside the block see, in every thread of this
        process. Blocks add up.
    """
    _move(seconds)
    try:
        yield
    finally:
        _move(-seconds)


def _move(seconds: float) -> None:
    global _offset_seconds
    with _offset_lock:
        _offset_seconds += seconds
