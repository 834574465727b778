"""A dispatcher is killed at its n-th step, another one brings its work to an end: for each n.

``python -m tests.integration.kill_points URL DIRECTORY PLOT THREAD [EVERY]`` prints a line of JSON
for each kill, where THREAD is ``loop``, ``run`` or ``partial``. A step is what lies before
a statement, before and after a COMMIT, and before a directory is moved or removed. Those of each
thread are numbered apart, so that every sweep meets the same ones; those of the heartbeat are left
out.
"""

from __future__ import annotations

import gc
import json
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from sqlalchemy import event as sqlalchemy_event
from sqlalchemy.orm import Session

from ramp_database import clock, events, queue, submissions
from ramp_database.errors import TransitionError
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_submission
from ramp_engine import partial_scoring
from ramp_engine.config import EventConfig, load_event
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.run import Run
from ramp_engine.testing import (
    Scenario,
    canned_scores,
    deploy_fake_event,
    violations,
    violations_on_disk,
)
from tests.integration.mortal import (
    PARTIAL_SCORING,
    WORKER_TYPE,
    PatientWorker,
    die_with_parent,
    forgeries,
    retry_soon,
)


class Plot(StrEnum):
    """What happens to the submission, apart from the kill."""

    GOOD = "good"  #: nothing
    FAILING = "failing"  #: its code fails
    CANCELED = "canceled"  #: its team cancels it as soon as it runs
    MOVED = "moved"  #: its machine is taken away after each fold
    PARTIAL = "partial"  #: its first fold is scored while the second one runs
    WITHDRAWN = "withdrawn"  #: its team cancels it when its dispatcher is dead


_SCENARIOS = {
    Plot.FAILING: Scenario.FAILING,
    Plot.CANCELED: Scenario.HANGING,
    Plot.MOVED: Scenario.MOVED,
}
#: The states in which the submission may end.
EXPECTED = {
    Plot.GOOD: {State.SCORED},
    Plot.MOVED: {State.SCORED},
    Plot.PARTIAL: {State.SCORED},
    Plot.FAILING: {State.TRAINING_ERROR},
    Plot.CANCELED: {State.CANCELED},
    Plot.WITHDRAWN: {State.SCORED, State.CANCELED},
}
#: So many trials at once: they mostly wait, for the limit of staleness among others.
N_TRIALS = 6
#: More steps than there are: the sweep ends with the first number that a dispatcher survives.
MAX_STEPS = 300
#: The successor finds the victim's heartbeat, which is much older, stale once it has lived so long.
STALE_SECONDS = 0.6

_DIRECTORY_EVENTS = {"os.rename", "shutil.rmtree", "shutil.move"}
_NUMBERS = re.compile(r"\d+")
_TABLE = re.compile(r"(?:FROM|INTO|UPDATE) (\w+)")


@dataclass
class Death:
    """What is found after a kill at a step; ready for JSON."""

    n: int
    step: str | None = None  #: None: there was no n-th step, the run went through
    state: str = ""  #: of the submission when its dispatcher was dead
    violations: list[str] = field(default_factory=list)  #: when another one was done with it
    n_crashes: int = 0
    attempt: int = 0


class Doom:
    """End this process, as a power cut would, at its n-th step."""

    def __init__(
        self, thread: str, n: int, record: Path, directory: Path, database: Database
    ) -> None:
        self._thread = thread
        self._n = n
        self._record = record
        self._directory = str(directory)
        self._database = database
        self._lock = threading.Lock()
        sqlalchemy_event.listen(database.engine, "before_cursor_execute", self._statement)
        sqlalchemy_event.listen(database.engine, "commit", self._commit)
        sqlalchemy_event.listen(Session, "after_commit", self._committed)
        sys.addaudithook(self._audit)

    def _step(self, name: str) -> None:
        if self._thread != _name_of_thread():
            return
        with self._lock:
            self._n -= 1
            if self._n == 0:
                self._record.write_text(name)
                os.kill(os.getpid(), signal.SIGKILL)

    def _statement(self, _c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        table = _TABLE.search(statement)
        self._step(" ".join([statement.split()[0], table[1] if table else ""]).strip())

    def _commit(self, _connection: Any) -> None:
        self._step("COMMIT")

    def _committed(self, session: Session) -> None:
        bind = session.get_bind()
        if bind.engine.pool is self._database.engine.pool:
            self._step("committed")

    def _audit(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in _DIRECTORY_EVENTS and str(arguments[0]).startswith(self._directory):
            path = str(arguments[0]).removeprefix(self._directory)
            self._step(f"{name} {_NUMBERS.sub('N', path)}")


def _name_of_thread() -> str:
    thread = threading.current_thread()
    if thread is threading.main_thread():
        return "loop"
    if thread.name == PARTIAL_SCORING:
        return "partial"
    return "run" if thread.name.startswith("submission_") else thread.name


class Canceler:
    """An observer who gives up at once on what has started."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run_started(self, run: Run) -> None:
        give_up(self._database, run.claim.submission_id)

    def run_ended(self, run: Run) -> None:
        pass


def give_up(database: Database, submission_id: int) -> None:
    with database.session() as session:
        try:
            queue.cancel(session, submission_id, "no more")
        except TransitionError:
            assert submissions.get(session, submission_id).state.is_final


@dataclass
class Trial:
    """An event with one submission, a victim and a successor.

    The database has no connection when a process is forked: each makes its own.
    """

    database: Database
    directory: Path
    plot: Plot
    thread: str
    n: int

    @property
    def name(self) -> str:
        return f"{self.plot}_{self.thread}_{self.n}"

    @property
    def record(self) -> Path:
        return self.directory / f"{self.name}.step"

    def event(self) -> EventConfig:
        return load_event(self.directory / self.name / "config.yml")

    def run(self) -> Death:
        death = Death(self.n)
        submission_id = self.submit()
        is_killed = in_child(self._die) != 0
        if is_killed:
            death.step = self.record.read_text()  # there is none when something else ended it
        with self.database.session(read_only=True) as session:
            death.state = str(submissions.get(session, submission_id).state)
        if self.plot in (Plot.CANCELED, Plot.WITHDRAWN):
            give_up(self.database, submission_id)
        self.database.dispose()
        if is_killed and in_child(self.succeed) != 0:
            death.violations.append("the successor failed")
        self._look(submission_id, death)
        self.database.dispose()
        return death

    def submit(self) -> int:
        worker: dict[str, Any] = {"worker_type": WORKER_TYPE}
        worker["scenario"] = str(_SCENARIOS.get(self.plot, Scenario.GOOD))
        if self.plot is Plot.PARTIAL:
            worker |= {"worker_type": f"{PatientWorker.__module__}:PatientWorker", "seconds": 1.0}
        settings = {"heartbeat_seconds": STALE_SECONDS / 3, "stale_after_seconds": STALE_SECONDS}
        deploy_fake_event(
            self.database, self.directory, name=self.name, worker=worker, n_threads=1, **settings
        )
        with self.database.session() as session:
            submission_id = add_toy_submission(session, self.name, f"team of {self.name}").id
        self.database.dispose()
        return submission_id

    def _die(self) -> None:
        event = self.event()
        with clock.shifted(-3600.0):  # long dead by the time that its successor looks
            dispatcher = self._dispatcher(event)
            Doom(self.thread, self.n, self.record, event.directory, self.database)
            dispatcher.run()

    def succeed(self) -> None:
        """Dispatch until all is done."""
        self._dispatcher(self.event()).run()

    def _dispatcher(self, event: EventConfig) -> Dispatcher:
        is_canceled = self.plot is Plot.CANCELED
        observer = Canceler(Database(self.database.engine.url)) if is_canceled else None
        return Dispatcher(
            self.database, event, is_exiting_when_done=True, observer=observer, score=canned_scores
        )

    def _look(self, submission_id: int, death: Death) -> None:
        event = self.event()
        with self.database.session(read_only=True) as session:
            event_id = events.get_event(session, self.name).id
            found = violations(session, event_id) + violations_on_disk(session, event_id, event)
            row = submissions.get(session, submission_id)
            death.n_crashes, death.attempt = row.n_crashes, row.attempt
            if row.state not in EXPECTED[self.plot]:
                found.append(f"it ended as {row.state}: {row.error}")
        found += forgeries(self.database, event, event_id)
        death.violations += found


def in_child(work: Callable[[], object]) -> int:
    """Do some work in a forked process, and give its exit code."""
    pid = os.fork()
    if pid == 0:
        die_with_parent()
        _work_and_exit(work)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _work_and_exit(work: Callable[[], object]) -> None:
    code = 1
    try:
        work()
        code = 0
    except Exception:  # noqa: BLE001  the end of the process
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def sweep(url: str, directory: Path, plot: Plot, thread: str, every: int = 1) -> None:
    """Try steps until a dispatcher has survived, some at a time."""
    database = Database(url)
    warm_up(Trial(database, directory, Plot.GOOD, thread, 0))
    running: set[int] = set()
    numbers = iter(range(1, MAX_STEPS, every))
    is_over = False
    while running or not is_over:
        if not is_over and len(running) < N_TRIALS:
            trial = Trial(database, directory, plot, thread, next(numbers))
            running.add(_start(trial))
        else:
            pid, status = os.wait()
            running.remove(pid)
            is_over = is_over or os.waitstatus_to_exitcode(status) != 0


def warm_up(trial: Trial) -> None:
    """Load, and compile, for all what is loaded and compiled at first use: half of their time."""
    trial.submit()
    trial.succeed()
    trial.database.dispose()
    assert threading.enumerate() == [threading.main_thread()], "others must not be forked"
    gc.collect()
    gc.freeze()  # else each trial copies all these pages when it looks for garbage in them


def _start(trial: Trial) -> int:
    """Run a trial in a process, which fails when there is no such step."""

    def work() -> None:
        death = trial.run()
        os.write(1, json.dumps(asdict(death)).encode() + b"\n")
        if death.step is None:
            os._exit(1)

    pid = os.fork()
    if pid == 0:
        die_with_parent()
        _work_and_exit(work)
    return pid


if __name__ == "__main__":
    die_with_parent()
    retry_soon()
    url, directory, plot, thread, *every = sys.argv[1:]
    if plot == Plot.PARTIAL:
        sqlalchemy_event.listen(Session, "after_commit", PatientWorker.hear)
        partial_scoring.FIRST_GUESS_SECONDS = partial_scoring.MIN_LEFT_SECONDS = 0.0
    sweep(url, Path(directory), Plot(plot), thread, *map(int, every))
