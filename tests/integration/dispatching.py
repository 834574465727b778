"""A dispatcher of fake workers in a thread, and a witness of what it does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import select

from ramp_database import submissions
from ramp_database.model import Attempt, Submission
from ramp_database.session import Database
from ramp_database.testing import add_toy_submission
from ramp_engine.base import BaseWorker
from ramp_engine.config import EventConfig
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.premises import Premises
from ramp_engine.run import Run
from ramp_engine.scoring import ScoreStep
from ramp_engine.testing import canned_scores, deploy_fake_event

#: Long enough for anything here, in seconds; nobody waits so long.
LONG = 240.0


class Witness:
    """An observer that can be waited for."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.ended: list[int] = []
        self.started: list[int] = []
        self.runs: list[Any] = []
        self.dispatcher: Any = None

    def run_started(self, run: Run) -> None:
        with self._changed:
            self.started.append(run.claim.submission_id)
            self.runs.append(run)
            self._changed.notify_all()

    def run_ended(self, run: Run) -> None:
        with self._changed:
            self.ended.append(run.claim.submission_id)
            self._changed.notify_all()

    def sees(self, is_so: Callable[[Witness], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: is_so(self), LONG)


@contextmanager
def dispatching(
    database: Database, directory: Path, score: ScoreStep = canned_scores, **settings: Any
) -> Iterator[Witness]:
    """Deploy an event of fake workers, and dispatch it."""
    limits = {"stale_after_seconds": 7200.0, "n_threads": 1}
    event = deploy_fake_event(database, directory, **(limits | settings))
    with dispatching_event(database, event, score) as witness:
        yield witness


@contextmanager
def dispatching_event(
    database: Database,
    event: EventConfig,
    score: ScoreStep | None = canned_scores,
    worker_class: type[BaseWorker] | None = None,
) -> Iterator[Witness]:
    """Dispatch an event that is deployed already."""
    witness = Witness()
    premises = None if worker_class is None else Premises(event, worker_class)
    dispatcher = Dispatcher(database, event, observer=witness, score=score, premises=premises)
    witness.dispatcher = dispatcher
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        yield witness
    finally:
        dispatcher.stop()
        thread.join(LONG)
        assert not thread.is_alive()


def wait_for(is_so: Callable[[], object]) -> bool:
    """Look until it is so, for as long as anything here may take."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if is_so():
            return True
        threading.Event().wait(0.05)
    return False


def submit(database: Database, team: str = "team") -> int:
    with database.session() as session:
        return add_toy_submission(session, team_name=team).id


def row(database: Database, submission_id: int) -> Submission:
    with database.session(read_only=True) as session:
        return submissions.get(session, submission_id)


def attempts(database: Database, submission_id: int) -> list[Attempt]:
    with database.session(read_only=True) as session:
        query = select(Attempt).where(Attempt.submission_id == submission_id)
        return list(session.scalars(query.order_by(Attempt.number)))
