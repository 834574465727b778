"""The local worker holds the contract of a worker, with real code in real processes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ramp_engine.local import LocalWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import MakeWorker, WorkerConformance


class TestLocalWorker(WorkerConformance):
    capabilities = LocalWorker.capabilities

    @pytest.fixture
    def make_worker(self, toy_event: ToyEvent, tmp_path: Path) -> MakeWorker:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> LocalWorker:
            config = toy_event.config(
                tmp_path, submission, scenario, timeout=timeout, python=sys.executable
            )
            return LocalWorker(config, submission)

        return make
