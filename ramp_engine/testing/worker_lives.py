"""Workers at each point of their lives, for the suite that all of them pass."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ramp_engine.base import BaseWorker, WorkerStatus
from ramp_engine.testing.scenarios import Scenario

__all__ = ["STATUSES", "MakeWorker", "log_of", "run_until_ended", "running"]


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
    while worker.status is WorkerStatus.RUNNING:
        worker.wait(1.0)
    return worker.status


def initialized(make: MakeWorker) -> BaseWorker:
    return make(Scenario.GOOD)


def set_up(make: MakeWorker) -> BaseWorker:
    worker = make(Scenario.GOOD)
    worker.setup()
    return worker


def running(make: MakeWorker) -> BaseWorker:
    """Give a worker whose submission hangs."""
    worker = make(Scenario.HANGING)
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
