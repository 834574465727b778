"""Wherever a dispatcher is killed, the next one brings its submission to its end, exactly once."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ramp_database import clock, dispatchers, queue
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.testing import TOY, add_toy_submission, toy_results
from ramp_engine import attempt
from ramp_engine.config import EventConfig
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.testing import canned_scores, deploy_fake_event
from tests.integration.kill_points import STALE_SECONDS, Death, Plot
from tests.integration.mortal import die_with_parent, wait_until

ROOT = Path(__file__).parents[2]
#: Steps of the run, with the state of the submission after a kill there: none may be missing, or
#: the sweep would prove less than it says.
RUN = {
    ("os.rename /submissions/.submission_N-N-N", "sent_to_training"),
    ("UPDATE submissions", "sent_to_training"),
    ("COMMIT", "sent_to_training"),
    ("committed", "training"),
    ("UPDATE submissions", "training"),
    ("os.rename /predictions/.submission_N-N-N", "training"),
    ("os.rename /logs/.submission_N-N-N", "training"),
    ("COMMIT", "training"),
    ("committed", "tested"),
    ("INSERT fold_scores", "tested"),
    ("os.rename /predictions/submission_N", "tested"),
    ("os.rename /predictions/.submission_N-N-N.scored", "tested"),
    ("COMMIT", "tested"),
    ("committed", "scored"),
    ("shutil.rmtree /work/attempts/submission_N-N-N", "scored"),
}
LOOP = {
    ("INSERT dispatchers", "new"),
    ("WITH submissions", "new"),
    ("INSERT attempts", "new"),
    ("COMMIT", "new"),
    ("committed", "sent_to_training"),
}


def sweep(url: str, directory: Path, plot: Plot, thread: str, every: int = 1) -> list[Death]:
    """Kill a dispatcher at every step of a thread, and give those steps in their order."""
    module = "tests.integration.kill_points"
    command = [sys.executable, "-m", module, url, str(directory), plot, thread, str(every)]
    with (directory / "sweep.log").open("w+b") as log:
        done = subprocess.run(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            preexec_fn=die_with_parent,
        )
        log.seek(0)
        assert done.returncode == 0, log.read().decode()
    tried = [Death(**json.loads(line)) for line in done.stdout.splitlines()]
    deaths = sorted((death for death in tried if death.step is not None), key=lambda one: one.n)
    survived = min(death.n for death in tried if death.step is None)
    early = [death.n for death in deaths if death.n < survived]
    assert early == list(range(1, survived, every))
    return deaths


def told(deaths: list[Death]) -> list[str]:
    """Tell what was broken after which kill."""
    return [f"{d.n} {d.step} ({d.state}): {one}" for d in deaths for one in d.violations]


@pytest.mark.parametrize(("thread", "steps"), [("loop", LOOP), ("run", RUN)])
def test_a_kill_at_any_step_loses_nothing_and_leaves_nothing_behind(
    database_url: str, tmp_path: Path, thread: str, steps: set[tuple[str, str]]
) -> None:
    deaths = sweep(database_url, tmp_path, Plot.GOOD, thread)
    assert told(deaths) == []
    assert steps - {(str(death.step), death.state) for death in deaths} == set()
    for death in deaths:  # one death is counted once, and what is recorded is not done again
        assert death.n_crashes <= 1, death
        assert death.attempt == 1 or death.state not in ("new", "scored"), death


@pytest.mark.parametrize("plot", [Plot.FAILING, Plot.CANCELED, Plot.WITHDRAWN])
def test_neither_does_a_kill_while_a_submission_ends_otherwise(
    database_url: str, tmp_path: Path, plot: Plot
) -> None:
    deaths = sweep(database_url, tmp_path, plot, "run", every=5)
    assert told(deaths) == []
    assert {"sent_to_training", "training"} <= {death.state for death in deaths}


#: Of the way of folds from an attempt to the next one.
KEPT = {
    "os.rename /work/attempts/submission_N-N-N/predictions/submission_N/fold_N",
    "os.rename /work/attempts/submission_N-N-N/done",
    "os.rename /work/kept/submission_N",
    "os.rename /work/attempts/submission_N-N-N/done/fold_N",
}


def test_folds_that_are_kept_are_found_again_or_run_again_wherever_the_kill(
    database_url: str, tmp_path: Path
) -> None:
    deaths = sweep(database_url, tmp_path, Plot.MOVED, "run", every=5)
    assert told(deaths) == []
    assert KEPT & {str(death.step) for death in deaths}
    for death in deaths:  # a fold each in two attempts, and one that scores; or one more
        assert 3 <= death.attempt <= 4, death


#: Of the thread that scores the fold that is done.
PARTIAL = {("UPDATE attempts", "training"), ("COMMIT", "training"), ("committed", "training")}


def test_a_kill_while_partial_scores_are_recorded_loses_nothing(
    database_url: str, tmp_path: Path
) -> None:
    deaths = sweep(database_url, tmp_path, Plot.PARTIAL, "partial")
    assert told(deaths) == []
    assert PARTIAL - {(str(death.step), death.state) for death in deaths} == set()
    assert {(death.attempt, death.n_crashes) for death in deaths} == {(2, 1)}


class ForgetfulDatabase(Database):
    """A database that is away for so many of those who only read."""

    n_refusals = 0

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        if read_only and self.n_refusals > 0:
            self.n_refusals -= 1
            raise DatabaseUnavailableError(self.label, "planted")
        with super().session(read_only=read_only) as session:
            yield session


@contextmanager
def standby(database: Database, event: EventConfig) -> Iterator[None]:
    """A dispatcher that has nothing to do, and has looked for leftovers when it started."""
    left = event.ramp.work_dir / "attempts" / "submission_000000099-1-99"
    left.mkdir(parents=True)
    dispatcher = Dispatcher(database, event, score=canned_scores)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        wait_until(lambda: not left.exists(), "the first sweep")
        yield
    finally:
        dispatcher.stop()
        thread.join()


def test_what_a_dispatcher_could_not_sweep_up_at_its_start_it_does_later(
    database_url: str, tmp_path: Path
) -> None:
    database = ForgetfulDatabase(database_url)
    limits = {"heartbeat_seconds": 0.5, "stalled_after_seconds": 1.0}
    event = deploy_fake_event(database, tmp_path, n_threads=1, **limits)
    left = event.ramp.work_dir / "attempts" / "submission_000000099-1-99"
    left.mkdir(parents=True)
    dispatcher = Dispatcher(database, event, score=canned_scores)
    database.n_refusals = 2
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        wait_until(lambda: not left.exists(), "the third sweep")
    finally:
        dispatcher.stop()
        thread.join()
        database.dispose()
    assert database.n_refusals == 0


@pytest.mark.parametrize("n_refusals", [0, 2])
def test_a_live_dispatcher_cleans_up_after_one_that_died_when_it_had_recorded(
    database_url: str, tmp_path: Path, n_refusals: int
) -> None:
    """Also when the database is away just then, after the rescue."""
    database = ForgetfulDatabase(database_url)
    limits = {"heartbeat_seconds": STALE_SECONDS / 3, "stale_after_seconds": STALE_SECONDS}
    event = deploy_fake_event(database, tmp_path, n_threads=1, **limits)
    with standby(database, event):
        database.n_refusals = n_refusals
        left: list[Path] = []
        with clock.shifted(-3600.0), database.session() as session:
            submission = add_toy_submission(session, TOY)
            dead = dispatchers.register(session, submission.event_id, "host", 1)
            (claim,) = queue.claim(session, submission.event_id, dead, 1)
            left = leave(event, claim)
            queue.start(session, claim)
            queue.finish(session, claim)
            queue.score(session, claim, toy_results(0.5))
        wait_until(lambda: not any(path.exists() for path in left), "the directories are gone")
        assert database.n_refusals == 0
    database.dispose()


def leave(event: EventConfig, claim: Claim) -> list[Path]:
    """Make the directories that an attempt has at one time or another."""
    name = f"submission_{claim.submission_id:09d}"
    root = attempt.attempt_directory(event.ramp.work_dir, name, claim).root
    ramp = event.ramp
    staged = [parent / f".{root.name}" for parent in (ramp.predictions_dir, ramp.logs_dir)]
    moved_aside = [path.with_name(f"{path.name}.old") for path in staged]
    scored = staged[0].with_name(f".{root.name}.scored")
    left = [root, *staged, *moved_aside, scored, scored.with_name(f"{scored.name}.old")]
    for path in left:
        path.mkdir(parents=True)
    return left
