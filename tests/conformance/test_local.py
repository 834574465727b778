"""The local worker holds the contract of a worker, with real code in two folds at a time.

One after another they run in `test_conda`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.local import LocalWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from tests.conformance.supervisors import kill_supervisor
from tests.open_environment import open_python


class TestLocalWorker(WorkerConformance):
    capabilities = LocalWorker.capabilities

    @pytest.fixture
    def make_worker(self, toy_event: ToyEvent, tmp_path: Path) -> MakeWorker:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> LocalWorker:
            keys = {"timeout": timeout, "python": str(open_python()), "n_jobs_per_submission": 2}
            config = toy_event.config(tmp_path, submission, scenario, **keys)
            return LocalWorker(config, submission)

        return make

    @pytest.fixture
    def cut(self) -> Cut:
        return kill_supervisor
