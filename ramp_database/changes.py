"""Noticing at once that there is work in the queue of an event.

Every step in the history of a submission that somebody has to act upon is announced: a submission
that waits (again), and what a team or an organiser does to one. What dispatchers do with their own
claims is not, and neither are heartbeats.

On PostgreSQL such a step sends a notification, which arrives when its transaction is committed. On
SQLite the watcher looks at ``PRAGMA data_version``, which changes with every commit of another
connection, and only then reads the history for such steps.

A notification can be missed: a connection breaks, or a proxy between does not pass them on. Whoever
watches has to look by himself from time to time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from types import TracebackType
from typing import Any, Protocol, Self

from sqlalchemy import String, cast, func, literal, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ramp_database.bell import Bell
from ramp_database.model import Submission
from ramp_database.session import Database
from ramp_database.states import State

__all__ = ["ChangeWatcher", "announce", "is_announced", "watch"]

logger = logging.getLogger(__name__)

#: Time between two looks at SQLite's data_version, in seconds.
LOOK_SECONDS = 0.05
#: The first and the longest wait before a lost connection is opened again, in seconds.
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 0.1, 30.0

_CHANNEL = "ramp_event_"


def is_announced(target: State, dispatcher_id: int | None) -> bool:
    """Tell whether somebody has to act upon a step to `target` that `dispatcher_id` took."""
    return target is State.NEW or dispatcher_id is None


_STEPS = f"""
    SELECT EXISTS (
        SELECT 1 FROM submission_events AS step
        JOIN submissions ON submissions.id = step.submission_id
        WHERE step.id > ? AND submissions.event_id = ?
        AND (step.to_state = '{State.NEW.value}' OR step.dispatcher_id IS NULL)
    )
"""  # noqa: S608  no part comes from outside; says what is_announced says


def announce(session: Session, submission_ids: Collection[int]) -> None:
    """Wake those who watch the events of submissions, when the transaction is committed.

    Notes
    -----
    One statement on PostgreSQL, none on SQLite.
    """
    if not submission_ids or session.get_bind().dialect.name != "postgresql":
        return
    channel = literal(_CHANNEL, String) + cast(Submission.event_id, String)
    query = select(func.pg_notify(channel, literal("", String)))
    session.execute(query.where(Submission.id.in_(submission_ids)))


def watch(database: Database, event_id: int) -> ChangeWatcher:
    """Watch the queue of an event, from the beginning of the ``with`` block on.

    Parameters
    ----------
    database : Database
    event_id : int

    Returns
    -------
    ChangeWatcher
        A context manager; while it is entered it holds a connection of its own.
    """
    return ChangeWatcher(database, event_id)


class _Source(Protocol):
    """A connection that tells about changes; its driver's errors mean that it is lost."""

    #: The longest time between two questions, in seconds; None: until `fd` can be read.
    pause_seconds: float | None
    fd: int | None

    def has_changed(self) -> bool:
        """Tell whether something was announced since the last question."""

    def close(self) -> None:
        """Close the connection."""


class _Listener:
    """Wait for notifications of PostgreSQL."""

    pause_seconds: float | None = None

    def __init__(self, connection: Any, event_id: int) -> None:
        self._connection = connection
        connection.autocommit = True
        connection.execute(f'LISTEN "{_CHANNEL}{event_id:d}"')
        self.fd: int | None = connection.fileno()

    def has_changed(self) -> bool:
        pgconn, found = self._connection.pgconn, False
        pgconn.consume_input()
        while pgconn.notifies() is not None:
            found = True
        return found

    def close(self) -> None:
        self._connection.close()


class _Reader:
    """Look whether anybody wrote to a file of SQLite, and if so, what."""

    pause_seconds: float | None = LOOK_SECONDS
    fd: int | None = None

    def __init__(self, connection: Any, event_id: int) -> None:
        self._connection = connection
        self._event_id = event_id
        connection.execute("PRAGMA query_only = ON")
        self._version = self._read("PRAGMA data_version")
        self._newest = self._read_newest()

    def has_changed(self) -> bool:
        version = self._read("PRAGMA data_version")
        if version == self._version:
            return False
        last, self._newest = self._newest, self._read_newest()
        found = self._newest < last or bool(self._read(_STEPS, last, self._event_id))
        self._version = version  # last: after an error the question is asked again
        return found

    def _read_newest(self) -> int:
        return int(self._read("SELECT coalesce(max(id), 0) FROM submission_events"))

    def _read(self, statement: str, *parameters: int) -> Any:
        return self._connection.execute(statement, parameters).fetchone()[0]

    def close(self) -> None:
        self._connection.close()


class ChangeWatcher:
    """Wait for work in the queue of an event; see `watch`.

    Parameters
    ----------
    database : Database
    event_id : int
    clock : callable
        Monotonic seconds, for the delays before a lost connection is opened again.

    Notes
    -----
    `wake` may be called from anywhere at any time, everything else from one thread.
    """

    def __init__(
        self, database: Database, event_id: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._event_id = event_id
        self._clock = clock
        self._bell = Bell()
        self._source: _Source | None = None
        self._connected_at = self._retry_at = clock()
        self._delay_seconds = FIRST_DELAY_SECONDS

    def __enter__(self) -> Self:
        """Note how the queue is; a database that is away is tried again while waiting."""
        self._connect()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the connection."""
        self._disconnect()

    def wake(self) -> None:
        """End `wait` at once, or the next one; also for other threads and signal handlers."""
        self._bell.ring()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until there may be work, until `wake`, or for so long.

        Parameters
        ----------
        timeout_seconds : float

        Returns
        -------
        bool
            Whether there may be work: something was announced since the last call, or may
            have been while there was no connection. A call of `wake` is used up then as well.

        Notes
        -----
        While the database is away it returns False, at the end of the time or after `wake`.
        """
        deadline = time.monotonic() + timeout_seconds
        while not self._has_changed():
            left = deadline - time.monotonic()
            fd = self._source.fd if self._source is not None else None
            if self._bell.wait(min(left, self._pause_seconds()), fd):
                return self._has_changed()
            if left <= 0:
                return False
        self._bell.wait(0)
        return True

    def _pause_seconds(self) -> float:
        if self._source is None:
            return self._retry_at - self._clock()
        pause = self._source.pause_seconds
        return float("inf") if pause is None else pause

    def _has_changed(self) -> bool:
        if self._source is None:
            return self._clock() >= self._retry_at and self._connect()
        try:
            return self._source.has_changed()
        except self._driver_error as error:
            self._disconnect()
            if self._clock() - self._connected_at > LONGEST_DELAY_SECONDS:
                self._delay_seconds = FIRST_DELAY_SECONDS
            self._put_off(error)
            return False

    def _connect(self) -> bool:
        source = _Listener if self._database.engine.dialect.name == "postgresql" else _Reader
        try:
            connection = self._database.connect_apart()
            try:
                self._source = source(connection, self._event_id)
            except BaseException:
                connection.close()
                raise
        except (self._driver_error, SQLAlchemyError) as error:
            self._put_off(error)
            return False
        self._connected_at = self._clock()
        return True

    def _disconnect(self) -> None:
        source, self._source = self._source, None
        if source is not None:
            source.close()

    def _put_off(self, error: Exception) -> None:
        """Try again later, and ever later until a connection has lasted."""
        logger.warning(
            "no news from the database, will connect again",
            extra={"reason": str(error).strip(), "seconds": self._delay_seconds},
        )
        self._retry_at = self._clock() + self._delay_seconds
        self._delay_seconds = min(2 * self._delay_seconds, LONGEST_DELAY_SECONDS)

    @property
    def _driver_error(self) -> type[Exception]:
        error: type[Exception] = self._database.engine.dialect.loaded_dbapi.Error
        return error
