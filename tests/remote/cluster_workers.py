"""Workers of an event on a cluster that share a gateway, without a dispatcher."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ramp_engine.remote import DaskWorker, RayWorker
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent
from tests.open_environment import open_python
from tests.remote.dask_cluster import DaskCluster
from tests.remote.node_dirs import NodeDir
from tests.remote.node_room import wait_until
from tests.remote.ray_cluster import RayCluster

#: Names of what we have in Ray's processes.
OURS = ("PostOffice", "Caller", "run_job")


class ClusterWorkers:
    """Give workers of an event; made by `dask_workers` and `ray_workers`.

    Parameters
    ----------
    kind : type
        Of the workers.
    keys : dict
        Of all of them.
    """

    def __init__(self, kind: type[RemoteWorker], toy_event: ToyEvent, keys: dict[str, Any]) -> None:
        self._kind, self._event, self.keys = kind, toy_event, keys
        self._n_submissions = 0
        self.nodes = NodeDir(Path(keys["node_dir"]))
        self.client = GatewayClient(kind.engine, keys)

    def make(
        self,
        scenario: Scenario,
        submission: str = "submission_000000001",
        kind: type[RemoteWorker] | None = None,
        **more: Any,
    ) -> RemoteWorker:
        """Give one whose submission of the toy event does what the scenario says."""
        self._n_submissions += 1
        attempt = Path(self.keys["work_dir"], f"attempt-{self._n_submissions}")
        config = self._event.config(attempt, submission, scenario, **(self.keys | more))
        return self.of(config, submission, kind)

    def of(
        self, config: dict[str, Any], submission: str, kind: type[RemoteWorker] | None = None
    ) -> RemoteWorker:
        """Give one of whatever event."""
        worker = (kind or self._kind)(config, submission)
        worker.shared = self.client
        return worker


@contextmanager
def _workers(
    kind: type[RemoteWorker], toy_event: ToyEvent, keys: dict[str, Any]
) -> Iterator[ClusterWorkers]:
    """Hold a gateway; at the end nothing of it is left on nodes."""
    with tempfile.TemporaryDirectory(prefix="ramp-t-") as folder:
        # A run that a worker has let go of is not waited for by those that come after it.
        common: dict[str, Any] = {
            "event": "toy",
            "kit_dir": str(toy_event.root / "kit"),
            "work_dir": f"{folder}/work",
            "node_dir": f"{folder}/nodes",
            "python": str(open_python()),
            "adopt_within_seconds": 1,
        }
        workers = ClusterWorkers(kind, toy_event, common | keys)
        with workers.client:
            yield workers
        workers.nodes.await_no_agents()


@contextmanager
def dask_workers(
    cluster: DaskCluster, toy_event: ToyEvent, **more: Any
) -> Iterator[ClusterWorkers]:
    """Hold a gateway; at the end nothing of it is left on nodes."""
    with _workers(DaskWorker, toy_event, {"dask_scheduler": cluster.address, **more}) as workers:
        yield workers


@contextmanager
def ray_workers(cluster: RayCluster, toy_event: ToyEvent, **more: Any) -> Iterator[ClusterWorkers]:
    """Hold a gateway; at the end nothing of it is left, on nodes and in Ray."""
    n_before = cluster.processes_of(*OURS)
    with _workers(RayWorker, toy_event, {"ray_address": cluster.address, **more}) as workers:
        yield workers
    wait_until(lambda: cluster.processes_of(*OURS) <= n_before, "the end of all in Ray")
