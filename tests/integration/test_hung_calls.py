"""A call of a worker that hangs costs its submission an attempt, and nobody else anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_database import queue
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_submission
from ramp_engine import dispatcher as dispatcher_module
from ramp_engine import run as run_module
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.errors import WorkerError
from ramp_engine.testing import canned_scores, deploy_fake_event
from tests.integration.dispatching import LONG, Witness, attempts, dispatching, row, submit

WORKER = "tests.integration.hanging_worker:FirstMisbehaves"
STEPS = ["setup", "handle", "launch_submission", "status", "collect_results", "teardown"]


@pytest.fixture(autouse=True)
def turn_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """What wakes a dispatcher is not the matter here: `test_waking` shows that."""
    monkeypatch.setattr(dispatcher_module, "FULL_TURN_SECONDS", 0.5)


@contextmanager
def hanging_in(
    database: Database, directory: Path, step: str, **settings: Any
) -> Iterator[Witness]:
    worker = {"worker_type": WORKER, "hang_in": step}
    limits = {"hung_after_seconds": 0.3, "time_between_collection": 0.1, "n_workers": 2}
    with dispatching(database, directory, worker=worker, **(limits | settings)) as witness:
        yield witness


@pytest.mark.parametrize("step", STEPS)
def test_a_hung_call_costs_an_attempt_and_the_others_go_on(
    database: Database, tmp_path: Path, step: str
) -> None:
    with hanging_in(database, tmp_path, step, max_attempts=1, n_workers=1) as witness:
        hung = submit(database)
        others = [submit(database) for _ in range(2)]
        assert witness.sees(lambda w: len(w.ended) == 3)
        assert row(database, hung).state is State.CHECKING_ERROR
        (attempt,) = attempts(database, hung)
        assert attempt.outcome == "crashed"
        assert f"{step}() has not returned" in (attempt.error or "")
        assert {row(database, other).state for other in others} == {State.SCORED}
        predictions = tmp_path / "toy" / "predictions"
        assert {path.name for path in predictions.iterdir()} == {
            f"submission_{other:09d}" for other in others
        }


@pytest.mark.parametrize("step", ["collect_results", "teardown"])
def test_what_a_late_call_brings_is_refused(database: Database, tmp_path: Path, step: str) -> None:
    with hanging_in(database, tmp_path, step, max_attempts=1) as witness:
        hung = submit(database)
        assert witness.sees(lambda w: w.ended == [hung])
        (thread,) = [call.thread for call in witness.dispatcher._hung_calls]
        (run,) = witness.runs
        run._worker.released.set()
        thread.join(LONG)
        assert not thread.is_alive()
        assert row(database, hung).state is State.CHECKING_ERROR
        assert list((tmp_path / "toy" / "work" / "attempts").iterdir()) == []


def test_a_cancel_does_not_wait_for_a_hung_call(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_module, "STOP_PATIENCE_SECONDS", 0.2)
    with hanging_in(database, tmp_path, "setup", hung_after_seconds=3600.0) as witness:
        hung = submit(database)
        assert witness.sees(lambda w: w.started == [hung])
        with database.session() as session:
            queue.cancel(session, hung, "no more")
        assert witness.sees(lambda w: w.ended == [hung])
    assert row(database, hung).state is State.CANCELED


def test_a_shutdown_gives_the_submission_of_a_hung_call_back(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "SHUTDOWN_SECONDS", 0.2)
    with hanging_in(database, tmp_path, "launch_submission", hung_after_seconds=3600.0) as witness:
        hung = submit(database)
        assert witness.sees(lambda w: w.started == [hung])
    found = row(database, hung)
    assert (found.state, found.n_crashes, found.n_interruptions) == (State.NEW, 0, 1)


def test_a_dispatcher_of_whose_workers_too_many_hang_drains_and_ends(
    database: Database, tmp_path: Path
) -> None:
    worker = {"hang_in": "setup"}
    limits = {"hung_after_seconds": 0.2, "time_between_collection": 0.1, "max_attempts": 1}
    event = deploy_fake_event(database, tmp_path, worker=worker, n_workers=4, n_threads=1, **limits)
    with database.session() as session:
        ids = [add_toy_submission(session).id for _ in range(8)]
    with pytest.raises(WorkerError, match="do not return"):
        Dispatcher(database, event, score=canned_scores).run()
    states = [row(database, id_).state for id_ in ids]
    assert set(states) == {State.CHECKING_ERROR, State.NEW}
    assert states.count(State.NEW) >= 2, "from the third that hangs on it claims nothing more"
