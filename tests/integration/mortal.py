"""Dispatchers in processes of their own, to be killed, paused and continued by tests.

Their worker signs what it leaves behind, so that a test can tell from which attempt it comes.
"""

from __future__ import annotations

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import session as session_module
from ramp_database.model import Attempt, Submission, SubmissionEvent
from ramp_database.queue import returning
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.submissions import directory_name
from ramp_engine.config import EventConfig, load_event
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.rehearsal.troubles import DISK_FULL, refuse_writes
from ramp_engine.testing import FakeWorker, Scenario, canned_scores

#: Longer than anything here takes; a test that waits so long has failed, in seconds.
PATIENCE_SECONDS = 240.0
#: The worker type of `SigningWorker`.
WORKER_TYPE = "tests.integration.mortal:SigningWorker"
#: Name of the threads that score the folds that are done.
PARTIAL_SCORING = "partial scoring"

_KEPT = re.compile(r"kept from attempt (\d+)")
_ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


class SigningWorker(FakeWorker):
    """Write the name of the attempt into the log and into each fold."""

    def collect_done_folds(self) -> Collection[int]:
        answer = super().collect_done_folds()
        self._sign_folds()
        return answer

    def collect_results(self) -> tuple[int, str]:
        answer = super().collect_results()
        (Path(self.config["logs_dir"], self.submission) / "log").write_text(self._signature)
        self._sign_folds()
        return answer

    @property
    def _signature(self) -> str:
        return Path(self.config["logs_dir"]).parent.name

    def _sign_folds(self) -> None:
        for fold in Path(self.config["predictions_dir"], self.submission).glob("fold_*"):
            (fold / "train_time").write_text(self._signature)


class PatientWorker(SigningWorker):
    """Stays in the second of two folds until the scores of the first one are recorded."""

    #: The thread that records them has committed.
    noted = threading.Event()

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._gives_up_at = time.monotonic() + PATIENCE_SECONDS
        self.clock = self._share_of_two_folds

    def _share_of_two_folds(self) -> float:
        if self._started_at is None:
            return 0.0
        is_alone = len(self.config.get("folds") or ()) == 1
        is_over = self.noted.is_set() or time.monotonic() > self._gives_up_at
        return 1.0 if is_alone or is_over else 0.6

    @classmethod
    def hear(cls, _session: Session) -> None:
        if threading.current_thread().name == PARTIAL_SCORING:
            cls.noted.set()


class MixedWorker(SigningWorker):
    """Every seventh submission fails; see `is_failing`."""

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        if is_failing(int(submission.rpartition("_")[2])):
            self.behaviour = self.behaviour.model_copy(update={"scenario": Scenario.FAILING})


def is_failing(submission_id: int) -> bool:
    return submission_id % 7 == 0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Ask again and again."""
    pause = threading.Event()
    for _ in range(int(PATIENCE_SECONDS / 0.02)):
        if is_so():
            return
        pause.wait(0.02)
    raise AssertionError(f"not in {PATIENCE_SECONDS:.0f} s: {what}")


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def retry_soon() -> None:
    """Have this process put off a second attempt for a moment only.

    Nor does it hold locks of PostgreSQL for a minute when it is paused in a transaction.
    """
    session_module.IDLE_TRANSACTION_SECONDS = 5.0
    returning.FIRST_DELAY_SECONDS = returning.LONGEST_DELAY_SECONDS = 0.01


def forgeries(database: Database, event: EventConfig, event_id: int) -> list[str]:
    """Find logs and predictions that are not those of the attempt that is recorded.

    A fold may be an earlier attempt's where the history says that it was kept from there.
    """
    with database.session(read_only=True) as session:
        query = select(Attempt.submission_id, Attempt.number, Submission.state).join(
            Submission,
            (Submission.id == Attempt.submission_id) & (Submission.attempt == Attempt.number),
        )
        query = query.where(Submission.event_id == event_id, Submission.state != State.CANCELED)
        rows = session.execute(query).all()
        starts = select(SubmissionEvent.submission_id, SubmissionEvent.attempt)
        starts = starts.add_columns(SubmissionEvent.reason)
        starts = starts.where(SubmissionEvent.from_state == State.SENT_TO_TRAINING)
        reasons = {(id_, number): reason for id_, number, reason in session.execute(starts)}
    found = []
    for id_, number, state in rows:
        name = directory_name(id_)
        log = event.ramp.logs_dir / name / "log"
        signed = {log: {number}}
        kept = {int(one) for one in _KEPT.findall(reasons.get((id_, number)) or "")}
        if state is State.SCORED:
            folder = event.ramp.predictions_dir / name
            signed |= {folder / f"fold_{i}" / "train_time": {number} | kept for i in (0, 1)}
        for path, allowed in signed.items():
            signature = path.read_text() if path.exists() else "nobody"
            if path == log and kept and signature.startswith("fold"):
                continue  # nothing was run: the log says just that
            if not any(signature.startswith(f"{name}-{one}-") for one in allowed):
                found.append(f"{path} is by {signature}, not by attempt {number}")
    return found


class DispatcherProcess:
    """A running dispatcher; it ends by itself when all is done."""

    def __init__(self, url: str, event: EventConfig, log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.integration.mortal", url, str(event.path)],
                cwd=_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,
            )
        self.pid = self._process.pid

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        return self._process.wait(PATIENCE_SECONDS)

    def pause(self) -> None:
        """Stop it, and return when it stands still."""
        self.send(signal.SIGSTOP)
        os.waitid(os.P_PID, self.pid, os.WSTOPPED)

    def end(self) -> None:
        """Kill it, also when it is paused."""
        self._process.kill()
        self._process.wait()


@contextmanager
def dispatcher_processes(
    n_processes: int, url: str, event: EventConfig
) -> Iterator[list[DispatcherProcess]]:
    """Start dispatchers; what they say is in ``dispatchers.log`` beside the event's folder."""
    log = event.directory.parent / "dispatchers.log"
    processes: list[DispatcherProcess] = []
    try:
        processes.extend(DispatcherProcess(url, event, log) for _ in range(n_processes))
        yield processes
    except BaseException:
        print(log.read_text(errors="replace")[-20_000:])
        raise
    finally:
        for process in processes:
            process.end()


def main(url: str, config_path: str) -> None:
    retry_soon()
    database = Database(url)
    event = load_event(Path(config_path))
    refuse_writes(event.directory, (event.directory.parent / DISK_FULL).exists)
    Dispatcher(database, event, is_exiting_when_done=True, score=canned_scores).run()
    database.dispose()


if __name__ == "__main__":
    die_with_parent()
    main(*sys.argv[1:])
    sys.stdout.flush()
    os._exit(0)  # a run that hangs shall be seen in the database, not here
