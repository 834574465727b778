"""The SSH worker holds the contract of a worker, on a machine with a real sshd."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.base import BaseWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from ramp_engine.testing.ssh_server import SshServer, requires_sshd
from ramp_worker_ssh import SshWorker


@requires_sshd
class TestSshWorker(WorkerConformance):
    capabilities = SshWorker.capabilities

    @pytest.fixture
    def make_worker(self, toy_event: ToyEvent, keys: dict[str, Any], tmp_path: Path) -> MakeWorker:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> SshWorker:
            config = toy_event.config(tmp_path, submission, scenario, timeout=timeout, **keys)
            return SshWorker(config, submission)

        return make

    @pytest.fixture
    def machines(self, machine: SshServer) -> list[int]:
        return [machine.pid]

    @pytest.fixture
    def cut(self, machine: SshServer, machines: list[int], reboot: Callable[[], None]) -> Cut:
        def cut(_: BaseWorker) -> None:
            reboot()
            machines[:] = [machine.pid]  # its sshd is another one now

        return cut
