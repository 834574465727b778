"""The suite on fake workers: cheap, and so what faults are planted in."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.base import BaseWorker, Capability
from ramp_engine.testing import FakeWorker, Scenario
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance


class FakeConformance(WorkerConformance):
    kind: ClassVar[type[FakeWorker]] = FakeWorker
    capabilities: ClassVar[frozenset[Capability]] = FakeWorker.capabilities

    @pytest.fixture
    def make_worker(self, tmp_path: Path) -> MakeWorker:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> FakeWorker:
            config: dict[str, Any] = {
                f"{name}_dir": str(tmp_path / name)
                for name in ("submissions", "predictions", "logs")
            }
            for directory in config.values():
                Path(directory).mkdir(exist_ok=True)
            # What a real run needs to begin before its time is up, a fake does not.
            timeout = timeout / 20 if timeout < 1 else timeout
            config |= {"n_folds": 2, "timeout": timeout, "scenario": scenario}
            config["outlives_dispatcher"] = Capability.ADOPT in self.capabilities
            return self.kind(config, submission)

        return make

    @pytest.fixture
    def cut(self) -> Cut:
        def cut(worker: BaseWorker) -> None:
            assert isinstance(worker, FakeWorker)
            lost = {"fail_in": "status", "error": "lost"}
            worker.behaviour = worker.behaviour.model_copy(update=lost)

        return cut
