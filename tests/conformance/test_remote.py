"""The remote worker holds the contract of a worker, with real nodes of an engine of threads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import MakeWorker, WorkerConformance
from tests.remote.thread_cluster import Cluster, ThreadWorker, thread_cluster


class _OnLostCluster(ThreadWorker):
    """Its cluster is lost as soon as the submission runs."""

    cluster: Cluster

    def launch_submission(self) -> None:
        super().launch_submission()
        self.cluster.tell("fail", reason="the scheduler died")


@pytest.fixture(scope="module")
def cluster(toy_event: ToyEvent) -> Iterator[Cluster]:
    # A run that a worker has let go of is not waited for by those that come after it.
    with thread_cluster(toy_event, adopt_within_seconds=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[GatewayClient]:
    with cluster.client() as client:
        yield client


@pytest.fixture(scope="module")
def lost_cluster(toy_event: ToyEvent) -> Iterator[Cluster]:
    with thread_cluster(toy_event) as cluster:
        yield cluster


@pytest.fixture
def lost_client(
    request: pytest.FixtureRequest, lost_cluster: Cluster
) -> Iterator[GatewayClient | None]:
    """A client for the one test that loses its cluster."""
    if "interruption" not in request.node.name:
        yield None
        return
    with lost_cluster.client() as client:
        yield client


class TestRemoteWorker(WorkerConformance):
    capabilities = RemoteWorker.capabilities

    @pytest.fixture
    def make_worker(
        self,
        cluster: Cluster,
        client: GatewayClient,
        lost_cluster: Cluster,
        lost_client: GatewayClient | None,
    ) -> Iterator[MakeWorker]:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> RemoteWorker:
            if scenario is not Scenario.INTERRUPTED:
                return cluster.worker(client, scenario, submission, timeout=timeout)
            config = lost_cluster.config(Scenario.HANGING, submission, timeout=timeout)
            worker = _OnLostCluster(config, submission)
            worker.cluster, worker.shared = lost_cluster, lost_client
            return worker

        yield make
        for one in (cluster, lost_cluster):
            one.await_nothing_runs()
