"""What a dispatcher looks at when it starts: once each, and warmed up when all of it is there."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_database.session import Database
from ramp_engine.config import EventConfig
from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation.scratch import MAKING
from ramp_engine.premises import Premises
from ramp_engine.provisions import Provisions
from ramp_engine.testing import FakeWorker, deploy_fake_event
from tests.integration.presence import PATIENCE_SECONDS


class Seen:
    """What a worker class was asked for.

    Parameters
    ----------
    is_open : bool
        Whether there is what the workers share.
    begins_early : bool
        What the class says of itself.
    """

    def __init__(self, *, is_open: bool = True, begins_early: bool = False) -> None:
        self.n_opened = self.n_closed = 0
        self.warmed: list[str] = []  # paths of bundles
        self.is_asked, self.is_warm = threading.Event(), threading.Event()
        self.worker_class = _class_of(self, is_open=is_open, is_early=begins_early)

    def look(self, database: Database, premises: Premises, event: EventConfig) -> None:
        """Have a dispatcher's look at everything."""
        checked = threading.Event()
        with Provisions(database, event, premises, checked.set):
            assert checked.wait(PATIENCE_SECONDS)


def _class_of(seen: Seen, *, is_open: bool, is_early: bool) -> type[FakeWorker]:
    class Worker(FakeWorker):
        begins_early: ClassVar[bool] = is_early

        @classmethod
        @contextlib.contextmanager
        def open_shared(cls, config: Mapping[str, Any]) -> Iterator[Any]:  # noqa: ARG003
            seen.n_opened += 1
            seen.is_asked.set()
            if not is_open:
                raise WorkerSetupError("the cluster is away")
            yield "shared"
            seen.n_closed += 1

        @classmethod
        def warm_up(cls, config: Mapping[str, Any], shared: Any) -> None:
            assert shared == "shared"
            seen.warmed.append(config["bundle_dir"])
            seen.is_warm.set()

    return Worker


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    database.upgrade()
    yield database
    database.dispose()


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    return deploy_fake_event(database, tmp_path, n_threads=1)


def test_workers_are_warmed_up_with_the_bundle(database: Database, event: EventConfig) -> None:
    seen = Seen()
    seen.look(database, Premises(event, seen.worker_class), event)
    assert (seen.n_opened, seen.n_closed) == (1, 1)
    (bundle,) = seen.warmed
    assert Path(bundle).name == "public"


def test_what_is_missing_is_looked_for_once_and_nothing_is_warmed_up(
    database: Database, event: EventConfig
) -> None:
    seen = Seen(is_open=False)
    seen.look(database, Premises(event, seen.worker_class), event)
    assert (seen.n_opened, seen.warmed) == (1, [])


def test_workers_of_this_machine_are_warmed_up_before_the_database_is_asked(
    database: Database, event: EventConfig
) -> None:
    seen = Seen(begins_early=True)
    with contextlib.closing(Premises(event, seen.worker_class)) as premises:
        premises.begin()
        assert seen.is_warm.wait(PATIENCE_SECONDS)
        seen.look(database, premises, event)
    assert len(seen.warmed) == 2
    assert len(set(seen.warmed)) == 1  # it was the right bundle
    assert (seen.n_opened, seen.n_closed) == (1, 1)


def test_a_bundle_made_later_than_the_deployed_one_is_not_what_runs_get(
    database: Database, event: EventConfig
) -> None:
    bundles = event.ramp.work_dir / "bundles"
    (deployed,) = bundles.iterdir()
    shutil.copytree(deployed, bundles / "later")
    os.utime(deployed, (0, 0))
    seen = Seen(begins_early=True)
    with contextlib.closing(Premises(event, seen.worker_class)) as premises:
        premises.begin()
        assert seen.is_warm.wait(PATIENCE_SECONDS)
        seen.look(database, premises, event)
    assert seen.warmed == [str(bundles / name / "public") for name in ("later", deployed.name)]


def test_a_bundle_that_is_being_made_is_not_begun_with(event: EventConfig) -> None:
    bundles = event.ramp.work_dir / "bundles"
    (deployed,) = bundles.iterdir()
    shutil.copytree(deployed, bundles / f"{MAKING}x")
    os.utime(deployed, (0, 0))
    seen = Seen(begins_early=True)
    with contextlib.closing(Premises(event, seen.worker_class)) as premises:
        premises.begin()
        assert seen.is_warm.wait(PATIENCE_SECONDS)
    assert seen.warmed == [str(deployed / "public")]


def test_what_cannot_be_begun_early_is_left_to_who_asks_later(
    database: Database, event: EventConfig, caplog: pytest.LogCaptureFixture
) -> None:
    seen = Seen(is_open=False, begins_early=True)
    with contextlib.closing(Premises(event, seen.worker_class)) as premises:
        premises.begin()
        assert seen.is_asked.wait(PATIENCE_SECONDS)
        premises.close()
        assert (seen.n_opened, caplog.messages) == (1, [])
        seen.look(database, premises, event)
    assert "the cluster is away" in caplog.text


def test_workers_that_reach_beyond_this_machine_are_not_begun_early(event: EventConfig) -> None:
    seen = Seen()
    with contextlib.closing(Premises(event, seen.worker_class)) as premises:
        premises.begin()
    assert (seen.n_opened, seen.warmed) == (0, [])
