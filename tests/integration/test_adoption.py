"""A run that outlives its dispatcher is adopted by the next one, and nothing of it is lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import ramp_engine
from ramp_database import dispatchers, history, queue, submissions
from ramp_database.events import get_event
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, toy_spec
from ramp_engine.attempt import attempt_directory
from ramp_engine.config import EventConfig
from ramp_engine.done_folds import DoneFolds, marks
from ramp_engine.narrative import tell
from ramp_engine.testing import deploy_fake_event, violations_on_disk
from tests.integration.dispatching import (
    Witness,
    attempts,
    dispatching_event,
    row,
    submit,
    wait_for,
)

ROOT = Path(__file__).parents[2]


def deploy(database: Database, directory: Path, seconds: float, **worker: Any) -> EventConfig:
    worker = {"seconds": seconds, "outlives_dispatcher": True} | worker
    beat = {"heartbeat_seconds": 0.2, "stale_after_seconds": 1.5, "time_between_collection": 0.2}
    return deploy_fake_event(database, directory, worker=worker, n_threads=1, **beat)


@contextmanager
def dispatcher_process(database: Database, event: EventConfig) -> Iterator[subprocess.Popen[bytes]]:
    url = database.engine.url.render_as_string(hide_password=False)
    command = [sys.executable, "-m", "tests.integration.dispatcher_process", url, str(event.path)]
    with (event.directory / "process.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def is_training(database: Database, submission_id: int) -> bool:
    return row(database, submission_id).state is State.TRAINING


def run_files(event: EventConfig) -> list[Path]:
    return sorted((event.ramp.work_dir / "attempts").glob("*/*.run"))


def test_the_run_of_a_dispatcher_that_was_killed_goes_on_under_the_next_one(
    database: Database, tmp_path: Path
) -> None:
    event = deploy(database, tmp_path, seconds=4.0)
    number = submit(database)
    with dispatcher_process(database, event) as first:
        assert wait_for(lambda: run_files(event) and is_training(database, number))
        first.send_signal(signal.SIGKILL)
        first.wait()
    started = run_files(event)
    with dispatching_event(database, event) as witness:
        assert witness.sees(lambda w: w.started == [number])
        assert run_files(event) == started, "it was not started again"
        assert witness.sees(lambda w: w.ended == [number])
    found = row(database, number)
    assert (found.state, found.attempt, found.n_crashes) == (State.SCORED, 1, 0)
    assert [one.outcome for one in attempts(database, number)] == ["succeeded"]
    assert list((event.ramp.work_dir / "attempts").iterdir()) == []
    with database.session(read_only=True) as session:
        told = [step.what for step in tell(history.read(session, number)).steps]
    assert any("its run goes on" in words for words in told)


def test_a_paused_dispatcher_leaves_the_run_that_another_adopted_alone(
    database: Database, tmp_path: Path
) -> None:
    event = deploy(database, tmp_path, seconds=3600.0)
    number = submit(database)
    with dispatcher_process(database, event) as first:
        assert wait_for(lambda: run_files(event) and is_training(database, number))
        first.send_signal(signal.SIGSTOP)
        with dispatching_event(database, event) as witness:
            assert witness.sees(lambda w: w.started == [number])
            first.send_signal(signal.SIGCONT)
            log = event.directory / "process.log"
            assert wait_for(lambda: b"attempt ended" in log.read_bytes())
            assert run_files(event), "the run goes on"
            (run,) = witness.runs
            assert run.is_alive
            with database.session() as session:
                queue.cancel(session, number, "enough")
            assert witness.sees(lambda w: w.ended == [number])
    assert row(database, number).state is State.CANCELED
    assert row(database, number).attempt == 1
    assert run_files(event) == []


def test_a_run_that_is_gone_when_it_is_to_be_adopted_is_evaluated_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramp_database.queue.returning.FIRST_DELAY_SECONDS", 0.1)
    event = deploy(database, tmp_path, seconds=0.0)
    number = left_by_a_dead_dispatcher(database, "/nowhere/gone.run", "bundle of then")
    witness = dispatch_until_scored(database, event, number)
    assert witness.started == [number, number]
    assert [one.outcome for one in attempts(database, number)] == ["crashed", "succeeded"]
    assert "there is no run" in (attempts(database, number)[0].error or "")


def test_a_run_with_an_older_bundle_is_ended_and_evaluated_again(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramp_database.queue.returning.FIRST_DELAY_SECONDS", 0.1)
    event = deploy(database, tmp_path, seconds=0.0)
    run_file = tmp_path / "remote.run"
    run_file.touch()
    number = left_by_a_dead_dispatcher(database, str(run_file), "bundle of then")
    dispatch_until_scored(database, event, number)
    assert [one.outcome for one in attempts(database, number)] == ["interrupted", "succeeded"]
    assert "deployed again" in (attempts(database, number)[0].error or "")
    assert not run_file.exists()


def test_a_run_whose_folds_are_all_done_is_ended_by_who_adopts_it(
    database: Database, tmp_path: Path
) -> None:
    event = deploy(database, tmp_path, seconds=0.0)
    run_file = tmp_path / "remote.run"
    run_file.touch()
    number = left_by_a_dead_dispatcher(database, str(run_file), toy_spec().bundle_hash)
    leave_folds(database, event, number, [0, 1])
    witness = dispatch_until_scored(database, event, number)
    assert witness.started == [number]
    assert [one.outcome for one in attempts(database, number)] == ["succeeded"]
    assert not run_file.exists()
    with database.session(read_only=True) as session:
        assert violations_on_disk(session, 1, event) == []


def leave_folds(database: Database, event: EventConfig, number: int, folds: list[int]) -> None:
    """Leave folds as the first dispatcher has taken them from its first attempt."""
    name = submissions.directory_name(number)
    directory = attempt_directory(event.ramp.work_dir, name, Claim(number, 1, 1))
    directory.make()
    with database.session(read_only=True) as session:
        files = submissions.assignment(session, number).files
    made_with = marks(
        bundle=toy_spec().bundle_hash,
        submission=submissions.content_hash(files),
        engine=ramp_engine.__version__,
        worker=[event.worker_type, event.worker],
        environment="",
    )
    for fold in folds:
        folder = directory.fold_predictions_dir / f"fold_{fold}"
        folder.mkdir(parents=True)
        for step in ("train", "test"):
            (folder / f"y_pred_{step}.npz").write_bytes(b"predictions")
        (folder / "state.txt").write_text("tested")
    assert DoneFolds(directory, 1, 2, lambda: made_with).take(folds)


def left_by_a_dead_dispatcher(database: Database, handle: str, bundle: str) -> int:
    number = submit(database)
    with database.session() as session:
        event_id = get_event(session, TOY).id
        dead = dispatchers.register(session, event_id, "elsewhere", 7)
        (claim,) = queue.claim(session, event_id, dead, 1)
        queue.start(session, claim, handle, bundle)
        dispatchers.deregister(session, dead)
    return number


def dispatch_until_scored(database: Database, event: EventConfig, number: int) -> Witness:
    with dispatching_event(database, event) as witness:
        assert wait_for(lambda: row(database, number).state is State.SCORED)
    return witness
