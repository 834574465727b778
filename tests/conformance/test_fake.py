"""The fake worker holds the contract of a worker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ramp_engine.testing import FakeWorker, Scenario
from ramp_engine.testing.conformance import MakeWorker, WorkerConformance


class TestFakeWorker(WorkerConformance):
    capabilities = FakeWorker.capabilities

    @pytest.fixture
    def make_worker(self, tmp_path: Path) -> MakeWorker:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> FakeWorker:
            config: dict[str, Any] = {
                f"{name}_dir": str(tmp_path / name) for name in ("predictions", "logs")
            }
            for directory in config.values():
                Path(directory).mkdir(exist_ok=True)
            config |= {"n_folds": 2, "timeout": timeout, "scenario": scenario}
            config["outlives_dispatcher"] = True
            return FakeWorker(config, submission)

        return make
