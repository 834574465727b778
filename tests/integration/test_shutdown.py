"""A shutdown that comes while a run is collected: what had ended by itself is not run again."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import ClassVar

import pytest

from ramp_database import submissions
from ramp_database.session import Database
from ramp_database.testing import add_toy_submission
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.testing import FakeWorker, canned_scores, deploy_fake_event


class Holding(FakeWorker):
    """Holds the results back until the run is told to stop."""

    is_collecting: ClassVar[threading.Event]
    is_told: ClassVar[threading.Event]

    def collect_results(self) -> tuple[int, str]:
        result = super().collect_results()
        self.is_told.clear()
        self.is_collecting.set()
        assert self.is_told.wait(60)
        return result

    def wake(self) -> None:
        super().wake()
        self.is_told.set()


class Signalled(Holding):
    """As one whose process got the signal of the shutdown as well."""

    def collect_results(self) -> tuple[int, str]:
        _, error_msg = super().collect_results()
        return 128 + 15, error_msg


@pytest.mark.parametrize(
    ("worker", "scenario", "expected"),
    [
        (Holding, "failing", ("training_error", "failed")),
        (Holding, "exiting", ("training_error", "failed")),
        (Holding, "good", ("new", "interrupted")),
        (Holding, "hanging", ("new", "interrupted")),
        (Signalled, "failing", ("new", "interrupted")),
    ],
)
def test_a_failure_that_was_there_before_the_shutdown_is_recorded(
    sqlite_url: str,
    tmp_path: Path,
    worker: type[Holding],
    scenario: str,
    expected: tuple[str, str],
) -> None:
    Holding.is_collecting, Holding.is_told = threading.Event(), threading.Event()
    database = Database(sqlite_url)
    keys = {"worker_type": f"{__name__}:{worker.__name__}", "scenario": scenario}
    limits = {"time_between_collection": 0.05, "timeout": 0.2 if scenario == "hanging" else 60.0}
    event = deploy_fake_event(database, tmp_path, worker=keys, **limits)
    with database.session() as session:
        number = add_toy_submission(session).id
    dispatcher = Dispatcher(database, event, score=canned_scores)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        assert Holding.is_collecting.wait(60)
    finally:
        dispatcher.stop()
        thread.join(60)
    assert not thread.is_alive()
    with database.session(read_only=True) as session:
        row = submissions.get(session, number)
    database.dispose()
    assert (row.state, row.outcome) == expected
    assert (row.attempt, row.n_crashes) == (1, 0)
