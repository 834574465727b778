"""The Dask worker holds the contract of a worker, on a real cluster."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ramp_engine.remote import DaskWorker
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import Cut, MakeWorker, WorkerConformance
from tests.remote.cluster_workers import ClusterWorkers, dask_workers
from tests.remote.dask_cluster import DaskCluster


@pytest.fixture(scope="module")
def workers(toy_event: ToyEvent) -> Iterator[ClusterWorkers]:
    with (
        DaskCluster(n_nodes=1, n_threads=4) as cluster,
        dask_workers(cluster, toy_event) as workers,
    ):
        yield workers


@pytest.fixture
def mortal(
    request: pytest.FixtureRequest, toy_event: ToyEvent
) -> Iterator[tuple[DaskCluster, ClusterWorkers] | None]:
    """A cluster for the tests that lose it; its agents hear nothing more of their gateway."""
    if not {"interruption", "cut"} & {*request.fixturenames, *request.node.name.split("_")}:
        yield None
        return
    with (
        DaskCluster(n_nodes=1, n_threads=2) as cluster,
        dask_workers(cluster, toy_event, event="mortal", lease_seconds=4) as workers,
    ):
        yield cluster, workers


class TestDaskWorker(WorkerConformance):
    capabilities = DaskWorker.capabilities

    @pytest.fixture
    def cut(self, mortal: tuple[DaskCluster, ClusterWorkers]) -> Cut:
        return lambda _: mortal[0].kill_scheduler()

    @pytest.fixture
    def make_worker(
        self,
        request: pytest.FixtureRequest,
        workers: ClusterWorkers,
        mortal: tuple[DaskCluster, ClusterWorkers] | None,
    ) -> Iterator[MakeWorker]:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> RemoteWorker:
            if mortal is not None and "cut" in request.fixturenames:
                return mortal[1].make(scenario, submission, timeout=timeout)
            if scenario is not Scenario.INTERRUPTED:
                return workers.make(scenario, submission, timeout=timeout)
            assert mortal is not None
            cluster, others = mortal

            class OnLostCluster(DaskWorker):
                """Its scheduler is killed as soon as the submission runs."""

                def launch_submission(self) -> None:
                    super().launch_submission()
                    cluster.kill_scheduler()

            return others.make(Scenario.HANGING, submission, OnLostCluster, timeout=timeout)

        yield make
        for one in (workers, mortal and mortal[1]):
            if one is not None:
                one.nodes.await_nothing_runs()
