"""Where a rehearsal plays: a schema or file and folders of its own, removed when it is over."""

from __future__ import annotations

import json
import logging
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from ramp_database.driver_errors import translated
from ramp_database.session import Database
from ramp_engine.config import EventConfig
from ramp_engine.errors import DatabaseError, RampError
from ramp_engine.rehearsal.plan import Settings
from ramp_engine.testing import deploy_fake_event

__all__ = ["Stage", "end_connections", "set_up"]

logger = logging.getLogger(__name__)

#: What names of schemas, folders and connections of rehearsals begin with.
PREFIX = "ramp_rehearsal_"
#: File in the folder that tells a dispatcher where to play.
STAGE_FILE = "stage.json"
#: The longest wait for locks of dispatchers that were killed, before their schema is dropped.
_DROP_SECONDS = 30

_INSUFFICIENT_PRIVILEGE = "42501"
_END_OTHERS = """
    SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
    WHERE application_name = :name AND usename = current_user
    AND datname = current_database() AND pid <> pg_backend_pid()
"""


@dataclass(frozen=True)
class Stage:
    """The places of a rehearsal."""

    name: str  #: no other rehearsal has it; all its processes carry it in their command
    directory: Path  #: holds every file; its last part is the name
    database: Database  #: its tables are the rehearsal's own
    event: EventConfig  #: the synthetic event

    @property
    def reports_dir(self) -> Path:
        """Where dispatchers write what they measured."""
        return self.directory / "reports"

    @property
    def troubles_dir(self) -> Path:
        """Holds a file for each trouble that the dispatchers have now."""
        return self.directory / "troubles"

    @property
    def place(self) -> str:
        """Where it is, for people."""
        if self.is_postgresql:
            database = self.database.engine.url.database
            return f"the schema {self.name} of the database {database} and {self.directory}"
        return str(self.directory)

    @property
    def is_postgresql(self) -> bool:
        """Whether the database is PostgreSQL."""
        return self.database.engine.dialect.name == "postgresql"


@contextmanager
def set_up(
    deployment: Database,
    folder: Path,
    settings: Settings,
    dispatcher: dict[str, Any],
    *,
    is_kept: bool = False,
) -> Iterator[Stage]:
    """Make schema or file, folders and event of a rehearsal; they go with the block.

    Parameters
    ----------
    deployment : Database
        Says where the database is; nothing in it is read or written.
    folder : Path
        The rehearsal's folder is made in there; for SQLite, beside the deployment's file instead,
        so that it is the same disk that is measured.
    settings : Settings
    dispatcher : dict
        The section ``dispatcher`` of the event.
    is_kept : bool
        Whether all stays.

    Yields
    ------
    Stage

    Raises
    ------
    DatabaseError
        The user of the database may not make a schema, or the connection does not stay in it.
    RampError
        There is no room for the folder.
    """
    url = deployment.engine.url
    is_sqlite = url.get_backend_name() == "sqlite"
    directory = _make_folder(Path(str(url.database)).parent if is_sqlite else folder)
    try:
        with _own_database(deployment, directory, is_kept=is_kept) as database:
            yield _furnish(database, directory, settings, dispatcher)
    finally:
        if not is_kept:
            shutil.rmtree(directory, ignore_errors=True)


def _make_folder(parent: Path) -> Path:
    try:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent.absolute()))
    except OSError as error:
        raise RampError(f"a rehearsal needs a folder of its own in {parent}: {error}") from error


@contextmanager
def _own_database(deployment: Database, directory: Path, *, is_kept: bool) -> Iterator[Database]:
    url = deployment.engine.url
    if url.get_backend_name() == "sqlite":
        with _opened(url.set(database=str(directory / "ramp.db"))) as database:
            yield database
        return
    name = directory.name
    with _schema(deployment, name, is_kept=is_kept) as own, _opened(own) as database:
        _check_schema(database, name)
        yield database


@contextmanager
def _opened(url: URL) -> Iterator[Database]:
    database = Database(url)
    try:
        yield database
    finally:
        database.dispose()


@contextmanager
def _schema(deployment: Database, name: str, *, is_kept: bool) -> Iterator[URL]:
    """Make a schema, and give the URL whose connections see nothing else."""
    _execute(deployment, f'CREATE SCHEMA "{name}"')
    try:
        url = deployment.engine.url
        options = f"{url.query.get('options', '')} -csearch_path={name}".strip()
        yield url.update_query_dict({"options": options, "application_name": name})
    finally:
        if not is_kept:
            _drop(deployment, name)


def _drop(deployment: Database, name: str) -> None:
    try:
        end_connections(deployment, name)
        _execute(
            deployment,
            f"SET LOCAL lock_timeout = '{_DROP_SECONDS}s'",
            f'DROP SCHEMA "{name}" CASCADE',
        )
    except DatabaseError as error:
        logger.error('%s. Remove the schema yourself: DROP SCHEMA "%s" CASCADE', error, name)


def _execute(database: Database, *statements: str) -> None:
    try:
        with database.engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _INSUFFICIENT_PRIVILEGE:
            url = database.engine.url
            user, name = url.username or "the user", url.database
            raise DatabaseError(
                f"{user} may not make a schema in the database {name}, and a rehearsal needs one "
                f"of its own. As an administrator: GRANT CREATE ON DATABASE {name} TO {user}"
            ) from error
        raise translated(error, database.label) from error
    except SQLAlchemyError as error:
        raise translated(error, database.label) from error


def end_connections(database: Database, name: str) -> None:
    """End the connections of a rehearsal on PostgreSQL, but for the one that does it.

    Parameters
    ----------
    database : Database
        The deployment's or the rehearsal's.
    name : str
        Of the rehearsal's schema.
    """
    try:
        with database.engine.begin() as connection:
            connection.execute(text(_END_OTHERS), {"name": name})
    except SQLAlchemyError as error:
        raise translated(error, database.label) from error


def _check_schema(database: Database, name: str) -> None:
    """Make sure that nothing is written elsewhere, whatever lies between here and the server."""
    try:
        with database.engine.connect() as connection:
            found = connection.scalar(text("SELECT current_schema()"))
    except SQLAlchemyError as error:
        raise translated(error, database.label) from error
    if found != name:
        raise DatabaseError(
            f"the connections to {database.label} do not stay in the schema {name} but in {found}: "
            "a pooler may drop their options. Give ramp rehearse a direct connection"
        )


def _furnish(
    database: Database, directory: Path, settings: Settings, dispatcher: dict[str, Any]
) -> Stage:
    """Make tables, event and folders."""
    database.upgrade()
    if database.engine.dialect.name == "postgresql":
        # the channel of the notifications is named after the event's number, in all schemas alike
        number = 1_000_000_000 + secrets.randbelow(1_000_000_000)
        _execute(database, f"ALTER SEQUENCE events_id_seq RESTART WITH {number}")
    tries_dir = directory / "tries"
    worker = {
        "worker_type": "ramp_engine.rehearsal.actor:Actor",
        "settings": asdict(settings),
        "tries_dir": str(tries_dir),
    }
    event = deploy_fake_event(database, directory, worker=worker, **dispatcher)
    stage = Stage(directory.name, directory, database, event)
    for made in (tries_dir, stage.reports_dir, stage.troubles_dir):
        made.mkdir()
    _tell_dispatchers(stage, settings)
    return stage


def _tell_dispatchers(stage: Stage, settings: Settings) -> None:
    """Write what a dispatcher must know; the URL may hold a password, so only we may read it."""
    path = stage.directory / STAGE_FILE
    path.touch(mode=0o600)
    told = {
        "url": stage.database.engine.url.render_as_string(hide_password=False),
        "event_config": str(stage.event.path),
        "is_chaotic": settings.is_chaotic,
    }
    path.write_text(json.dumps(told))
