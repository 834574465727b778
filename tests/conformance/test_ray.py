"""The Ray worker holds the contract of a worker, on a real cluster."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterator

import pytest

from ramp_engine.base import BaseWorker
from ramp_engine.remote import RayWorker
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from tests.remote.cluster_workers import ClusterWorkers, ray_workers
from tests.remote.ray_cluster import RayCluster


class _WithoutGateway(RayWorker):
    """Its gateway dies as soon as the submission runs, as it does with the head."""

    def launch_submission(self) -> None:
        super().launch_submission()
        kill_gateway(self)


def kill_gateway(worker: BaseWorker) -> None:
    """Kill the gateway, which is started again and knows nothing of the run."""
    assert isinstance(worker, RayWorker)
    pid = worker._client().pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with RayCluster({"only": ["--num-cpus=4"]}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def workers(cluster: RayCluster, toy_event: ToyEvent) -> Iterator[ClusterWorkers]:
    with ray_workers(cluster, toy_event) as workers:
        yield workers


@pytest.fixture
def mortal_workers(
    request: pytest.FixtureRequest, cluster: RayCluster, toy_event: ToyEvent
) -> Iterator[ClusterWorkers | None]:
    """Those of another gateway, for the tests that lose it."""
    if not {"interruption", "cut"} & {*request.fixturenames, *request.node.name.split("_")}:
        yield None
        return
    with ray_workers(cluster, toy_event, event="mortal", lease_seconds=5) as workers:
        yield workers


class TestRayWorker(WorkerConformance):
    capabilities = RayWorker.capabilities

    @pytest.fixture
    def machines(self, cluster: RayCluster) -> Collection[int]:
        return cluster.pids

    @pytest.fixture
    def cut(self) -> Cut:
        have_been_cut: list[BaseWorker] = []

        def cut(worker: BaseWorker) -> None:
            if not have_been_cut:  # both have the same gateway
                kill_gateway(worker)
            have_been_cut.append(worker)

        return cut

    @pytest.fixture
    def make_worker(
        self,
        request: pytest.FixtureRequest,
        workers: ClusterWorkers,
        mortal_workers: ClusterWorkers | None,
    ) -> Iterator[MakeWorker]:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> RemoteWorker:
            if mortal_workers is not None and "cut" in request.fixturenames:
                return mortal_workers.make(scenario, submission, timeout=timeout)
            if scenario is not Scenario.INTERRUPTED:
                return workers.make(scenario, submission, timeout=timeout)
            assert mortal_workers is not None
            return mortal_workers.make(
                Scenario.HANGING, submission, _WithoutGateway, timeout=timeout
            )

        yield make
        for one in (workers, mortal_workers):
            if one is not None:
                one.nodes.await_nothing_runs()
