"""What tests of several kinds use: databases, a toy event, a conda environment, a cloud."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ramp_engine.testing import ToyEvent
from tests.conda_channel import conda_room
from tests.lasting import remove_lasting_folders
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

if TYPE_CHECKING:
    from tests.aws.cloud import Cloud

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
    """Remove the interpreter for everybody, where one was made, and what else has lasted."""
    remove_open_environment()
    remove_lasting_folders()


@pytest.fixture(scope="session")
def toy_event(tmp_path_factory: pytest.TempPathFactory) -> ToyEvent:
    """A prepared event of two folds, for real code."""
    return ToyEvent.prepare(Path(tmp_path_factory.mktemp("toy"), "event"), open_python())


@pytest.fixture(scope="session")
def cloud_server() -> Iterator[Cloud]:
    """The cloud of all tests; most have it by `cloud`, or by the machines of `farm`."""
    from tests.aws.cloud import running_cloud  # boto3 takes its time

    with running_cloud() as cloud:
        yield cloud
