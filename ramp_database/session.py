"""Connections and transactions.

`Database` is what programs hold. Each `Database.session` is one transaction; errors of SQLAlchemy
and of the drivers leave it as errors of ours.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session
from sqlalchemy.pool import ConnectionPoolEntry

from ramp_database import schema
from ramp_database.driver_errors import translated
from ramp_database.errors import DatabaseError, SchemaError
from ramp_database.mounts import network_file_system

__all__ = ["Database", "engine_for", "parse_url"]

#: How long a connection to SQLite waits for the lock of another, in seconds.
BUSY_TIMEOUT_SECONDS = 30.0

#: On PostgreSQL the server ends a transaction in which nothing was asked for so long, in seconds:
#: a process that is paused in the midst of one holds locks that keep others from its submissions.
IDLE_TRANSACTION_SECONDS = 60.0

_DRIVERS = {
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
}
# a server that vanished without a word is noticed within a minute
_POSTGRESQL_ARGUMENTS = {
    "application_name": "ramp",
    "connect_timeout": 10,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
}


def engine_for(url: str | URL) -> Engine:
    """Make the engine for a database.

    Parameters
    ----------
    url : str or URL
        ``sqlite:///FILE`` or ``postgresql://...``, for which psycopg 3 is the driver. The options
        in its query count more than those that are set here.

    Returns
    -------
    Engine
        On SQLite every transaction takes the write lock when it begins, unless the execution
        option ``is_read_only`` is set: a transaction that reads first and writes later
        could not be carried on. No connection is made yet.

    Raises
    ------
    DatabaseError
        The URL is none, its database or driver is not supported, or the file of SQLite lies on a
        file system of a network.
    """
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _sqlite_engine(parsed)
    defaults = _POSTGRESQL_ARGUMENTS.items()
    arguments = {key: value for key, value in defaults if key not in parsed.query}
    try:
        engine = create_engine(parsed, connect_args=arguments)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"the driver of {parsed.drivername} is not installed: "
            "pip install 'ramp-engine[postgresql]'"
        ) from error
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def parse_url(url: str | URL) -> URL:
    """Read the URL of a database, and choose its driver.

    Raises
    ------
    DatabaseError
        It is none, or its database or driver is not supported.
    """
    try:
        parsed = make_url(url)
        parsed = parsed.set(drivername=_DRIVERS.get(parsed.drivername, parsed.drivername))
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise DatabaseError("the URL of the database is none: expected sqlite:///FILE") from error
    if backend not in ("sqlite", "postgresql"):
        raise DatabaseError(f"{backend} is not supported: expected sqlite or postgresql")
    return parsed


def _sqlite_engine(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise DatabaseError("a SQLite database needs a file: sqlite:///FILE")
    path = Path(str(url.database)).absolute()
    found = network_file_system(path)
    if found is not None:
        raise DatabaseError(
            f"{path} lies on a network file system ({found}), where SQLite loses data: "
            "put it on a local disk, or use PostgreSQL"
        )
    engine = create_engine(
        url.set(database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_postgresql(connection: Any, _record: ConnectionPoolEntry) -> None:
    milliseconds = round(IDLE_TRANSACTION_SECONDS * 1000)
    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = {milliseconds}")
    connection.autocommit = False


def _set_up_sqlite(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)  # noqa: S101  engine_for chose the driver
    connection.isolation_level = None  # the driver begins no transaction; _begin_sqlite does
    for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    is_read_only = connection.get_execution_options().get("is_read_only", False)
    connection.exec_driver_sql("BEGIN" if is_read_only else "BEGIN IMMEDIATE")


class Database:
    """A deployment's database.

    Parameters
    ----------
    url : str or URL
        See `engine_for`.

    Raises
    ------
    DatabaseError
        As `engine_for`.

    Notes
    -----
    Safe to share between threads. A new file of SQLite gets its tables at first use; elsewhere
    `upgrade` makes them.
    """

    def __init__(self, url: str | URL) -> None:
        self.engine = engine_for(url)
        options: dict[str, Any] = {"is_read_only": True}
        if self.engine.dialect.name == "postgresql":
            options |= {"postgresql_readonly": True, "isolation_level": "REPEATABLE READ"}
        self._read_only = self.engine.execution_options(**options)
        self._lock = threading.Lock()
        self._is_ready = False

    def __repr__(self) -> str:
        return f"Database({self.label!r})"

    @property
    def label(self) -> str:
        """The URL with the password masked."""
        return self.engine.url.render_as_string(hide_password=True)

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        """Open a session that is one transaction: committed at the end, rolled back on an error.

        Parameters
        ----------
        read_only : bool, default=False
            Whether nothing will be written. All queries see one state of the database, and no
            writer is held up.

        Yields
        ------
        Session
            Rows that it gave can still be read after its end, as far as they were loaded.

        Raises
        ------
        DatabaseUnavailableError
            There is no connection, it was lost, or SQLite was locked for too long.
        SchemaError
            The tables are missing or of another version.
        """
        self._make_ready()
        with self._translating():
            engine = self._read_only if read_only else self.engine
            with Session(engine, expire_on_commit=False) as session, session.begin():
                yield session

    def connect_apart(self) -> Any:
        """Open a connection of the driver that belongs to the caller, who closes it.

        Raises
        ------
        SQLAlchemyError
            Or an error of the driver: there is none to be had. For use within this package.
        """
        connection = self.engine.raw_connection()
        driver_connection = connection.driver_connection
        connection.detach()
        return driver_connection

    def upgrade(self) -> None:
        """Make the tables, or bring them to this program's version; safe to call again.

        Raises
        ------
        SchemaError
            The tables are of a later version than this program.
        """
        with self._translating(), self.engine.begin() as connection:
            schema.upgrade(connection)
        self._is_ready = True

    def is_empty(self) -> bool:
        """Tell whether the database has no tables at all, whoever's."""
        with self._translating(), self._read_only.connect() as connection:
            return schema.is_empty(connection)

    def check_schema(self) -> None:
        """Check that the tables are those of this program.

        Raises
        ------
        SchemaError
            They are missing or of another version.
        """
        with self._translating(), self._read_only.connect() as connection:
            found = schema.revision(connection)
        if found != schema.HEAD:
            raise SchemaError(self.label, found, schema.HEAD)

    def dispose(self) -> None:
        """Close the connections; the database can be used again."""
        self.engine.dispose()

    def _make_ready(self) -> None:
        """Check the tables at first use, and make them in a new file of SQLite."""
        with self._lock:
            if self._is_ready:
                return
            if self.engine.dialect.name == "sqlite" and self._is_new():
                self.upgrade()
            self.check_schema()
            self._is_ready = True

    def _is_new(self) -> bool:
        path = Path(str(self.engine.url.database))
        if path.exists() and path.stat().st_size > 0:
            return self.is_empty()
        return True

    @contextmanager
    def _translating(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise translated(error, self.label) from error
