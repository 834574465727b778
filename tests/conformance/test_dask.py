"""The Dask worker holds the contract of a worker, on a real cluster of three nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import pytest

from ramp_engine.remote import DaskWorker
from ramp_engine.remote.gateway_client import GatewayClient
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.conformance import MakeWorker, WorkerConformance
from tests.remote.dask_cluster import DaskCluster
from tests.remote.dask_room import DaskRoom


class _OnLostCluster(DaskWorker):
    """Its scheduler is killed as soon as the submission runs."""

    cluster: DaskCluster

    def launch_submission(self) -> None:
        super().launch_submission()
        self.cluster.kill_scheduler()


class _Client:
    """Gives workers of an event on a cluster."""

    def __init__(
        self, cluster: DaskCluster, folder: Path, toy_event: ToyEvent, lease_seconds: float
    ) -> None:
        self.cluster, self._folder, self._event = cluster, folder, toy_event
        self._n_submissions = 0
        # A run that a worker has let go of is not waited for by those that come after it.
        self._keys: dict[str, Any] = {
            "dask_scheduler": cluster.address,
            "node_dir": str(folder / "nodes"),
            "work_dir": str(folder / "work"),
            "event": "toy",
            "adopt_within_seconds": 1,
            "lease_seconds": lease_seconds,
        }
        self.room = DaskRoom(cluster, self._keys)
        self._gateway = GatewayClient("dask", {**self._keys, "kit_dir": str(toy_event.root / "kit")})

    def worker(
        self, kind: type[DaskWorker], scenario: Scenario, submission: str, timeout: float
    ) -> DaskWorker:
        self._n_submissions += 1
        attempt = self._folder / f"attempt-{self._n_submissions}"
        more = self._keys | {"timeout": timeout}
        config = self._event.config(attempt, submission, scenario, **more)
        worker = kind(config, submission)
        worker.shared = self._gateway
        return worker

    def __enter__(self) -> Self:
        self._gateway.__enter__()
        return self

    def __exit__(self, *reason: object) -> None:
        self._gateway.__exit__(*reason)
        self.room.await_no_agents()


@contextmanager
def _clients(toy_event: ToyEvent, n_nodes: int, lease_seconds: float = 60) -> Iterator[_Client]:
    with (
        tempfile.TemporaryDirectory(prefix="ramp-t-") as folder,
        DaskCluster(n_nodes=n_nodes, environment={"RAMP_INSTANCE_METADATA": ""}) as cluster,
        _Client(cluster, Path(folder), toy_event, lease_seconds) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def client(toy_event: ToyEvent) -> Iterator[_Client]:
    with _clients(toy_event, n_nodes=3) as client:
        yield client


@pytest.fixture
def lost_client(request: pytest.FixtureRequest, toy_event: ToyEvent) -> Iterator[_Client | None]:
    """A cluster for the one test that loses it."""
    if "interruption" not in request.node.name:
        yield None
        return
    with _clients(toy_event, n_nodes=1, lease_seconds=4) as client:
        yield client


class TestDaskWorker(WorkerConformance):
    capabilities = DaskWorker.capabilities

    @pytest.fixture
    def make_worker(self, client: _Client, lost_client: _Client | None) -> Iterator[MakeWorker]:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> DaskWorker:
            if scenario is not Scenario.INTERRUPTED:
                return client.worker(DaskWorker, scenario, submission, timeout)
            assert lost_client is not None
            worker = lost_client.worker(_OnLostCluster, Scenario.HANGING, submission, timeout)
            assert isinstance(worker, _OnLostCluster)
            worker.cluster = lost_client.cluster
            return worker

        yield make
        for one in (client, lost_client):
            if one is not None:
                one.room.await_nothing_runs()


