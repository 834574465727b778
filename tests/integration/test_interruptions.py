"""What the history says of runs that were interrupted, and that they count for nobody."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from ramp_database.session import Database
from ramp_database.states import State
from ramp_engine.errors import ResourceUnavailableError
from ramp_engine.testing import FakeWorker, deploy_fake_event
from tests.integration.dispatching import attempts, dispatching_event, row, submit


class AwayWorker(FakeWorker):
    @classmethod
    def open_shared(cls, config: Mapping[str, Any]) -> AbstractContextManager[Any]:  # noqa: ARG003
        raise ResourceUnavailableError("no scheduler answers")


class TellingWorker(FakeWorker):
    def _is_submission_interrupted(self) -> bool:
        self.interruption = "the head of the cluster has died"
        return True


@pytest.mark.parametrize(
    ("worker_class", "reason"),
    [
        (AwayWorker, "no scheduler answers"),
        (TellingWorker, "the head of the cluster has died"),
    ],
)
def test_an_interruption_says_why_and_does_not_count(
    database: Database, tmp_path: Path, worker_class: type[FakeWorker], reason: str
) -> None:
    event = deploy_fake_event(database, tmp_path, stale_after_seconds=7200.0)
    submission_id = submit(database)
    with dispatching_event(database, event, worker_class=worker_class) as witness:
        assert witness.sees(lambda w: len(w.ended) == 1)
    [attempt] = attempts(database, submission_id)
    assert (attempt.outcome, attempt.error) == ("interrupted", f"interrupted: {reason}")
    assert row(database, submission_id).state is State.NEW
