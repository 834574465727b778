"""The conda worker holds the contract of a worker, in a real conda environment.

The environment is found by its name through a stand-in for the conda program; see
`tests.conda_channel`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.local import CondaEnvWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from tests.conda_channel import CondaRoom
from tests.conformance.supervisors import kill_supervisor


class TestCondaEnvWorker(WorkerConformance):
    capabilities = CondaEnvWorker.capabilities

    @pytest.fixture
    def make_worker(
        self,
        toy_event: ToyEvent,
        conda_room: CondaRoom,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> MakeWorker:
        monkeypatch.setenv("CONDA_EXE", str(conda_room.program))

        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> CondaEnvWorker:
            config = toy_event.config(
                tmp_path, submission, scenario, timeout=timeout, conda_env="kitenv"
            )
            return CondaEnvWorker(config, submission)

        return make

    @pytest.fixture
    def cut(self) -> Cut:
        return kill_supervisor
