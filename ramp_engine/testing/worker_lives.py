"""Workers at each point of their lives, for the suite that all of them pass."""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ramp_engine.base import BaseWorker, WorkerStatus
from ramp_engine.errors import WorkerError, WorkerStateError
from ramp_engine.missing_predictions import missing_predictions
from ramp_engine.testing.scenarios import Scenario

__all__ = ["STATUSES", "MakeWorker", "alone", "assert_success", "await_end", "collected_from"]
__all__ += ["fold_of", "log_of", "refusing", "run_until_ended", "running"]

#: A run ends at its time limit, and may then take so much longer to be seen to, in seconds.
OVERDUE_SECONDS = 60.0


class MakeWorker(Protocol):
    """Make a worker whose submission does what the scenario says.

    Each worker gets directories of its own, and ``shared`` where it needs that.
    """

    def __call__(
        self, scenario: Scenario, *, timeout: float = 60.0, submission: str = ...
    ) -> BaseWorker:
        """Make it; `timeout` in seconds."""


def run_until_ended(worker: BaseWorker) -> WorkerStatus:
    """Take a worker from its setup to the end of its run, and give its status."""
    worker.setup()
    worker.launch_submission()
    return await_end(worker)


def await_end(worker: BaseWorker, seconds: float | None = None) -> WorkerStatus:
    """Wait for the end of a run; by default until it is well over its time limit."""
    if seconds is None:
        seconds = float(worker.config.get("timeout") or 0) + OVERDUE_SECONDS
    deadline = time.monotonic() + seconds
    while worker.status is WorkerStatus.RUNNING:
        assert time.monotonic() < deadline, (
            f"the status is still 'running' after {seconds:g} s. _is_submission_finished() must "
            "be True when the run has ended, _is_submission_interrupted() when it is lost (or "
            "either raises WorkerLostError), check_timeout() after config['timeout'] seconds"
        )
        worker.wait(1.0)
    return worker.status


def alone(worker: BaseWorker) -> tuple[int, str]:
    """Have ``launch()`` run a submission, and give what it returns, of the right form."""
    return _pair(worker.launch(), "launch()")


def collected_from(worker: BaseWorker) -> tuple[int, str]:
    """Collect the results, and give what is returned, of the right form."""
    return _pair(worker.collect_results(), "collect_results()")


def _pair(answer: Any, method: str) -> tuple[int, str]:
    forms = [type(part) for part in answer] if isinstance(answer, tuple) else []
    assert forms == [int, str], (
        f"{method} gives {answer!r:.300}; collect_results() must return (returncode, error_msg), "
        "a number and a text, (0, '') when all is well"
    )
    return answer[0], answer[1]


def assert_success(worker: BaseWorker, answer: tuple[int, str]) -> None:
    """Hold a success to its outputs: the log, and whole predictions of every fold."""
    log = log_of(worker)
    tail = log.read_bytes()[-2000:].decode(errors="replace") if log.is_file() else "no log"
    assert answer == (0, ""), f"a good submission ended as {answer!r}. Its log: {tail}"
    folds = worker.config.get("folds") or range(worker.config["n_folds"])
    predictions = fold_of(worker, 0).parent
    missing = missing_predictions(predictions, folds)
    assert not missing, (
        f"collect_results() tells of a success, but in {predictions} {missing}. It must bring the "
        "predictions of all folds there, or raise a WorkerError when they cannot be fetched"
    )
    assert log.is_file(), f"collect_results() must write the log of the run to {log}"


@contextmanager
def refusing(
    what: str,
    matching: str = "",
    error: type[WorkerError] = WorkerStateError,
    hint: str = "call the method of the base class, which sees to that",
) -> Iterator[None]:
    """Expect the block to raise an error, and say what must be mended when it does not."""
    refusal: WorkerError | None = None
    try:
        yield
    except error as raised:
        refusal = raised
    assert refusal is not None, f"{what} must raise {error.__name__}: {hint}"
    name = type(refusal).__name__
    assert matching in str(refusal), f"{what}: the {name} must say {matching!r}; it says {refusal}"


def initialized(make: MakeWorker) -> BaseWorker:
    return make(Scenario.GOOD)


def set_up(make: MakeWorker) -> BaseWorker:
    worker = make(Scenario.GOOD)
    worker.setup()
    return worker


def running(make: MakeWorker, **options: Any) -> BaseWorker:
    """Give a worker whose submission hangs."""
    worker = make(Scenario.HANGING, **options)
    worker.setup()
    worker.launch_submission()
    return worker


def finished(make: MakeWorker) -> BaseWorker:
    worker = make(Scenario.GOOD)
    run_until_ended(worker)
    return worker


def collected(make: MakeWorker) -> BaseWorker:
    worker = finished(make)
    worker.collect_results()
    return worker


STATUSES: dict[WorkerStatus, Callable[[MakeWorker], BaseWorker]] = {
    WorkerStatus.INITIALIZED: initialized,
    WorkerStatus.SETUP: set_up,
    WorkerStatus.RUNNING: running,
    WorkerStatus.FINISHED: finished,
    WorkerStatus.COLLECTED: collected,
}


def log_of(worker: BaseWorker) -> Path:
    """Give the log that a worker leaves."""
    return Path(worker.config["logs_dir"], worker.submission, "log")


def fold_of(worker: BaseWorker, fold: int) -> Path:
    """Give the folder of the outputs of a fold."""
    return Path(worker.config["predictions_dir"], worker.submission, f"fold_{fold}")
