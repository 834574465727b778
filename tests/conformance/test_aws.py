"""The AWS worker holds the contract of a worker: moto's EC2, and real sshd for its instances."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws import AWSWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import MakeWorker, WorkerConformance
from tests.aws.cloud import cloud, cloud_server
from tests.aws.farm import Farm, running_farm
from tests.sshd import requires_sshd

__all__ = ["cloud", "cloud_server"]


@pytest.fixture(scope="module")
def farm(cloud_server: Any) -> Iterator[Farm]:
    with pytest.MonkeyPatch.context() as patch:
        for key, value in cloud_server.environment().items():
            patch.setenv(key, value)
        cloud_server.reset()
        with running_farm(cloud_server) as farm:
            yield farm
        cloud_server.reset()


@requires_sshd
class TestAWSWorker(WorkerConformance):
    capabilities = AWSWorker.capabilities

    @pytest.fixture
    def machines(self, farm: Farm) -> Collection[int]:
        return (os.getpid(),)

    @pytest.fixture
    def make_worker(self, farm: Farm, toy_event: ToyEvent) -> Iterator[MakeWorker]:
        with tempfile.TemporaryDirectory(prefix="ramp-t-") as folder:
            keys = farm.keys(event="toy", deployment="d", n_workers=4, work_dir=f"{folder}/work")
            n_made = 0
            with AWSWorker.open_shared(keys | {"logs_dir": folder}) as shared:

                def make(
                    scenario: Scenario,
                    *,
                    timeout: float = 60.0,
                    submission: str = "submission_000000001",
                ) -> AWSWorker:
                    nonlocal n_made
                    n_made += 1
                    where = Path(folder, f"attempt-{n_made}")
                    more = keys | {"timeout": timeout}
                    config = toy_event.config(where, submission, scenario, **more)
                    kind = OnLostInstance if scenario is Scenario.INTERRUPTED else AWSWorker
                    worker = kind(config, submission)
                    worker.shared = shared
                    return worker

                class OnLostInstance(AWSWorker):
                    """Its instance is terminated as soon as the submission runs."""

                    def launch_submission(self) -> None:
                        super().launch_submission()
                        assert self._instance is not None
                        farm.terminate(self._instance.id)

                yield make
        assert not farm.cloud.ids(["pending", "running"])
