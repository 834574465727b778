"""What a dispatcher looks at when it starts: once each, and warmed up when all of it is there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from ramp_database.session import Database
from ramp_engine.errors import WorkerSetupError
from ramp_engine.premises import Premises
from ramp_engine.provisions import Provisions
from ramp_engine.testing import FakeWorker, deploy_fake_event
from tests.integration.presence import PATIENCE_SECONDS


class Seen:
    """What the worker class below was asked for."""

    def __init__(self) -> None:
        self.n_opened = 0
        self.warmed: list[Mapping[str, Any]] = []


def look(database: Database, folder: Path, *, is_open: bool) -> Seen:
    """Have a dispatcher's look at everything, and tell what it asked of the workers."""
    seen = Seen()

    class Worker(FakeWorker):
        @classmethod
        @contextlib.contextmanager
        def open_shared(cls, config: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ARG003
            seen.n_opened += 1
            if not is_open:
                raise WorkerSetupError("the cluster is away")
            yield "shared"

        @classmethod
        def warm_up(cls, config: Mapping[str, Any], shared: Any) -> None:
            assert shared == "shared"
            seen.warmed.append(config)

    checked = threading.Event()
    event = deploy_fake_event(database, folder, n_threads=1)
    with Provisions(database, event, Premises(event, Worker), checked.set):
        assert checked.wait(PATIENCE_SECONDS)
    return seen


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    database.upgrade()
    yield database
    database.dispose()


def test_workers_are_warmed_up_with_the_bundle(database: Database, tmp_path: Path) -> None:
    seen = look(database, tmp_path, is_open=True)
    assert seen.n_opened == 1
    (config,) = seen.warmed
    assert Path(config["bundle_dir"]).name == "public"


def test_what_is_missing_is_looked_for_once_and_nothing_is_warmed_up(
    database: Database, tmp_path: Path
) -> None:
    seen = look(database, tmp_path, is_open=False)
    assert (seen.n_opened, seen.warmed) == (1, [])
