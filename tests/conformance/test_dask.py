"""The Dask worker holds the contract of a worker, on a real cluster of three nodes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.remote import DaskWorker
from ramp_engine.remote.gateway.client import GatewayClient
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


class _Room:
    """A cluster, and workers of the toy event on it."""

    def __init__(self, cluster: DaskCluster, folder: Path, event: ToyEvent, **keys: Any) -> None:
        self.cluster, self._folder, self._event = cluster, folder, event
        self._n_submissions = 0
        # A run that a worker has let go of is not waited for by those that come after it.
        self.keys = {
            "dask_scheduler": cluster.address,
            "kit_dir": str(event.root / "kit"),
            "node_dir": str(folder / "nodes"),
            "work_dir": str(folder / "work"),
            "event": "toy",
            "adopt_within_seconds": 1,
            **keys,
        }
        self.agents = DaskRoom(cluster, self.keys)

    def config(self, scenario: Scenario, submission: str, timeout: float) -> dict[str, Any]:
        self._n_submissions += 1
        attempt = self._folder / f"attempt-{self._n_submissions}"
        return self._event.config(attempt, submission, scenario, **self.keys, timeout=timeout)


@contextmanager
def _room(n_nodes: int, event: ToyEvent, **keys: Any) -> Iterator[_Room]:
    with (
        tempfile.TemporaryDirectory(prefix="ramp-t-") as folder,
        DaskCluster(n_nodes=n_nodes, environment={"RAMP_INSTANCE_METADATA": ""}) as cluster,
    ):
        room = _Room(cluster, Path(folder), event, **keys)
        yield room
        room.agents.await_no_agents()


@pytest.fixture(scope="module")
def room(toy_event: ToyEvent) -> Iterator[_Room]:
    with _room(3, toy_event) as room:
        yield room


@pytest.fixture(scope="module")
def client(room: _Room) -> Iterator[GatewayClient]:
    with GatewayClient("dask", room.keys) as client:
        yield client
    room.agents.await_no_agents()


@pytest.fixture
def lost_room(request: pytest.FixtureRequest, toy_event: ToyEvent) -> Iterator[_Room | None]:
    """A cluster for the one test that loses it; its agents hear nothing more of their gateway."""
    if "interruption" not in request.node.name:
        yield None
        return
    with _room(1, toy_event, lease_seconds=4) as room:
        yield room


class TestDaskWorker(WorkerConformance):
    capabilities = DaskWorker.capabilities

    @pytest.fixture
    def make_worker(
        self, room: _Room, client: GatewayClient, lost_room: _Room | None
    ) -> Iterator[MakeWorker]:
        def make(
            scenario: Scenario, *, timeout: float = 60.0, submission: str = "submission_000000001"
        ) -> DaskWorker:
            if scenario is Scenario.INTERRUPTED:
                assert lost_room is not None
                config = lost_room.config(Scenario.HANGING, submission, timeout)
                lost = _OnLostCluster(config, submission)  # with a gateway of its own
                lost.cluster = lost_room.cluster
                return lost
            worker = DaskWorker(room.config(scenario, submission, timeout), submission)
            worker.shared = client
            return worker

        yield make
        for one in (room, lost_room):
            if one is not None:
                one.agents.await_nothing_runs()
