"""The AWS worker holds the contract of a worker: moto's EC2, and real sshd for its instances."""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws import AWSWorker
from ramp_engine.base import BaseWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from ramp_engine.testing.ssh_server import requires_sshd
from tests.aws.farm import Farm, farm

__all__ = ["farm"]

#: Instances that workers have let go of; some have another that took them.
LET_GO: set[str] = set()


@pytest.fixture(scope="module")
def keys(farm: Farm) -> Iterator[dict[str, Any]]:
    """Those of all workers; their directories are gone at the end."""
    with tempfile.TemporaryDirectory(prefix="ramp-t-") as folder:
        directories = {"work_dir": f"{folder}/work", "logs_dir": f"{folder}/logs"}
        more = {"n_workers": 8, "time_between_collection": 0.3} | directories
        yield farm.keys(event="toy", deployment="d", **more)


@pytest.fixture(scope="module")
def shared(farm: Farm, keys: dict[str, Any]) -> Iterator[object]:
    """One fleet, whose instances go from test to test; it leaves none."""
    Path(keys["logs_dir"]).mkdir()
    with AWSWorker.open_shared(keys) as shared:
        yield shared
    assert farm.cloud.ids(["pending", "running"]) <= LET_GO


@requires_sshd
class TestAWSWorker(WorkerConformance):
    capabilities = AWSWorker.capabilities

    @pytest.fixture
    def machines(self, farm: Farm) -> Collection[int]:
        return (os.getpid(),)  # the sshd of each machine

    @pytest.fixture
    def cut(self, farm: Farm) -> Cut:
        def cut(worker: BaseWorker) -> None:
            assert isinstance(worker, AWSWorker)
            farm.terminate(worker._held.instance.id)

        return cut

    @pytest.fixture
    def own_folders(self, keys: dict[str, Any]) -> Collection[Path]:
        return (Path(keys["logs_dir"]),)  # of the event, with what its instances cost

    @pytest.fixture
    def make_worker(
        self,
        farm: Farm,
        keys: dict[str, Any],
        shared: object,
        toy_event: ToyEvent,
        tmp_path: Path,
    ) -> MakeWorker:
        class OnLostInstance(AWSWorker):
            """Its instance is terminated as soon as the submission runs."""

            def launch_submission(self) -> None:
                super().launch_submission()
                assert self._lease is not None
                farm.terminate(self._lease.instance.id)

        class NotingWorker(AWSWorker):
            """It is known what it leaves to another dispatcher, of which there is none."""

            def detach(self) -> None:
                if self._lease is not None:
                    LET_GO.add(self._lease.instance.id)
                super().detach()

        numbers = itertools.count(1)

        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> AWSWorker:
            is_lost = scenario is Scenario.INTERRUPTED
            played = Scenario.HANGING if is_lost else scenario
            attempt = tmp_path / str(next(numbers))
            mine = {key: value for key, value in keys.items() if key != "logs_dir"}
            config = toy_event.config(attempt, submission, played, **mine, timeout=timeout)
            worker = (OnLostInstance if is_lost else NotingWorker)(config, submission)
            worker.shared = shared
            return worker

        return make
