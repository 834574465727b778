"""A real PostgreSQL for the tests, and databases on it and on SQLite.

The server comes from a wheel, is started once a session in a temporary directory, listens on a
Unix socket only, and ends with the tests, also when they are killed. Import the fixtures that a
`conftest.py` offers: `database` and `database_url` exist on either kind of database.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ramp_database.model import Base
from ramp_database.schema import HEAD
from ramp_database.session import Database
from ramp_database.testing_server import PostgreSQLServer as Server
from ramp_database.testing_server import temporary_server

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

TEMPLATE = "ramp_template"

_END_OTHERS = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
_LAYOUT = "SELECT min(tablename), count(*) FROM pg_tables WHERE schemaname = 'public'"
_EMPTY = ";".join(
    [f"DELETE FROM {table.name}" for table in reversed(Base.metadata.sorted_tables)]  # noqa: S608
    + ["SELECT setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S'"]
)


#: Databases that are empty, with all tables.
_spare: list[str] = []


def _empty(server: Server, name: str) -> bool:
    """Delete all rows; False when the tables are not those of the template any more."""
    with server.connect(name) as connection:
        connection.execute(_END_OTHERS)
        found = connection.execute(_LAYOUT).fetchall()
        if found != [("alembic_version", len(Base.metadata.tables) + 1)]:
            return False
        version = connection.execute("SELECT version_num FROM alembic_version").fetchall()
        connection.execute(_EMPTY)
    return bool(version == [(HEAD,)])


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[Server]:
    """A running server with a migrated database to copy."""
    with temporary_server() as server:
        # its processes would come and go below that of the tests, which look for any that are left
        server.admin("ALTER SYSTEM SET autovacuum = off")
        server.admin("SELECT pg_reload_conf()")
        server.admin(f"CREATE DATABASE {TEMPLATE}")
        template = Database(server.url(TEMPLATE))
        template.upgrade()
        template.dispose()
        yield server
    _spare.clear()


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
    name = _spare.pop() if _spare else ""
    if not name:
        name = f"test_{next(_numbers)}"
        postgresql_server.admin(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE} STRATEGY file_copy")
    yield postgresql_server.url(name)
    if _empty(postgresql_server, name):
        _spare.append(name)
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
