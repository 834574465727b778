"""What tests of several kinds use: databases, a toy event, a conda environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.testing import ToyEvent
from tests.conda_channel import conda_room
from tests.open_environment import open_python, remove_open_environment
from tests.postgresql import (
    database,
    database_url,
    empty_database_url,
    make_postgresql_url,
    postgresql_server,
    postgresql_url,
    sqlite_template,
    sqlite_url,
)

__all__ = [
    "conda_room",
    "database",
    "database_url",
    "empty_database_url",
    "make_postgresql_url",
    "postgresql_server",
    "postgresql_url",
    "sqlite_template",
    "sqlite_url",
]


def pytest_unconfigure() -> None:
    """Remove the interpreter for everybody, where one was made."""
    remove_open_environment()


@pytest.fixture(scope="session")
def toy_event(tmp_path_factory: pytest.TempPathFactory) -> ToyEvent:
    """A prepared event of two folds, for real code."""
    return ToyEvent.prepare(Path(tmp_path_factory.mktemp("toy"), "event"), open_python())
