"""Folds that are done are run once, whatever becomes of the dispatcher and of the score step."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

from ramp_database import history, queue
from ramp_database.queue import returning
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine import dispatcher as dispatcher_module
from ramp_engine.config import EventConfig
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.errors import EvaluationError
from ramp_engine.testing import (
    FakeWorker,
    canned_scores,
    deploy_fake_event,
    violations,
    violations_on_disk,
)
from tests.integration.dispatching import row, submit
from tests.integration.mortal import WORKER_TYPE, dispatcher_processes, forgeries, wait_until
from tests.integration.test_four_dispatchers import holds_no_lock, rows_of

LIMITS = {"n_threads": 1, "heartbeat_seconds": 0.2, "stale_after_seconds": 1.0}
NAME = "submission_000000001"


def told(database: Database, submission_id: int) -> list[str]:
    with database.session(read_only=True) as session:
        return [step.reason or "" for step in history.read(session, submission_id).steps]


def check(database: Database, event: EventConfig) -> None:
    with database.session(read_only=True) as session:
        assert violations(session, 1) == []
        assert violations_on_disk(session, 1, event) == []


def kept(event: EventConfig) -> list[Path]:
    return list(event.ramp.work_dir.glob("kept/*/fold_*"))


def test_who_was_taken_for_dead_and_comes_back_disturbs_nobody_who_uses_its_folds(
    database: Database, tmp_path: Path
) -> None:
    worker = {"worker_type": WORKER_TYPE, "seconds": 3.0}
    settings = LIMITS | {"time_between_collection": 0.1, "n_workers": 1, "max_attempts": 9}
    event = deploy_fake_event(database, tmp_path, worker=worker, **settings)
    with database.session() as session:
        add_toy_submission(session, TOY)
    url = database.engine.url.render_as_string(hide_password=False)
    attempts_dir = event.ramp.work_dir / "attempts"
    with dispatcher_processes(1, url, event) as (paused,):
        wait_until(lambda: any(attempts_dir.glob("*-1-*/done/done.json")), "fold 0 is done")

        def is_paused() -> bool:
            paused.pause()
            if holds_no_lock(database, paused):
                return True
            paused.send(signal.SIGCONT)
            return False

        wait_until(is_paused, "it stands still")
        with dispatcher_processes(1, url, event) as (other,):
            wait_until(lambda: any(attempts_dir.glob("*-2-*/done/fold_0")), "fold 0 is adopted")
            paused.send(signal.SIGCONT)
            assert [other.wait(), paused.wait()] == [0, 0]
    assert len(rows_of(database, paused)) == 2, "it came back as another dispatcher"
    check(database, event)
    assert forgeries(database, event, 1) == []
    assert any("fold 0 kept from attempt 1" in reason for reason in told(database, 1))
    folds = event.ramp.predictions_dir / NAME
    signatures = [(folds / f"fold_{fold}" / "train_time").read_text() for fold in (0, 1)]
    assert [one.split("-")[1] for one in signatures] == ["1", "2"]


@pytest.fixture
def launches(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The folds of each run that a fake worker launches."""
    found: list[Any] = []
    launch = FakeWorker.launch_submission

    def noted(worker: FakeWorker) -> None:
        found.append(worker.config.get("folds", "all"))
        launch(worker)

    monkeypatch.setattr(FakeWorker, "launch_submission", noted)
    return found


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt follows at once."""
    monkeypatch.setattr(returning, "FIRST_DELAY_SECONDS", 0.1)


class FailingOnce:
    """A score step that fails at first."""

    def __init__(self) -> None:
        self._has_failed = False

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not self._has_failed:
            self._has_failed = True
            raise EvaluationError("score", "planted")
        return canned_scores(*arguments, **options)


@pytest.mark.usefixtures("soon")
def test_after_a_crash_of_the_score_step_no_fold_is_run_again(
    database: Database, tmp_path: Path, launches: list[Any]
) -> None:
    event = deploy_fake_event(database, tmp_path, **LIMITS)
    id_ = submit(database)
    Dispatcher(database, event, is_exiting_when_done=True, score=FailingOnce()).run()
    found = row(database, id_)
    assert (found.state, found.attempt, launches) == (State.SCORED, 2, ["all"])
    assert any("folds 0, 1 kept from attempt 1" in reason for reason in told(database, id_))
    check(database, event)


def test_folds_of_an_attempt_that_was_the_last_are_not_kept(
    database: Database, tmp_path: Path
) -> None:
    event = deploy_fake_event(database, tmp_path, max_attempts=1, **LIMITS)
    id_ = submit(database)
    Dispatcher(database, event, is_exiting_when_done=True, score=FailingOnce()).run()
    assert row(database, id_).state is State.CHECKING_ERROR
    assert kept(event) == []


def test_kept_folds_of_a_submission_that_is_canceled_while_it_waits_are_swept_up(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "FULL_TURN_SECONDS", 0.2)
    event = deploy_fake_event(database, tmp_path, **LIMITS)
    id_, score = submit(database), FailingOnce()
    dispatcher = Dispatcher(database, event, score=score)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        wait_until(lambda: len(kept(event)) == 2, "both folds are kept")
        with database.session() as session:
            queue.cancel(session, id_, "no more")
        wait_until(lambda: kept(event) == [], "they are swept up")
    finally:
        dispatcher.stop()
        thread.join()
    assert row(database, id_).state is State.CANCELED
    check(database, event)
