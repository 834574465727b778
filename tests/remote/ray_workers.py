"""Workers of an event on a Ray cluster that share a gateway, without a dispatcher."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ramp_engine.remote import RayWorker
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.testing import Scenario, ToyEvent
from tests.remote.node_dirs import NodeDir
from tests.remote.node_room import wait_until
from tests.remote.ray_cluster import RayCluster

#: Names of what we have in Ray's processes.
OURS = ("PostOffice", "Caller", "run_job")


class RayWorkers:
    """Give workers of a toy event; made by `ray_workers`."""

    def __init__(self, toy_event: ToyEvent, folder: Path, keys: dict[str, Any]) -> None:
        self._event, self._folder, self.keys = toy_event, folder, keys
        self._n_submissions = 0
        self.nodes = NodeDir(Path(keys["node_dir"]))
        self.client = GatewayClient("ray", keys)

    def make(
        self,
        scenario: Scenario,
        submission: str = "submission_000000001",
        kind: type[RayWorker] = RayWorker,
        **more: Any,
    ) -> RayWorker:
        self._n_submissions += 1
        attempt = self._folder / f"attempt-{self._n_submissions}"
        config = self._event.config(attempt, submission, scenario, **(self.keys | more))
        return self.of(config, submission, kind)

    def of(
        self, config: dict[str, Any], submission: str, kind: type[RayWorker] = RayWorker
    ) -> RayWorker:
        """Give a worker of whatever event."""
        worker = kind(config, submission)
        worker.shared = self.client
        return worker


@contextmanager
def ray_workers(cluster: RayCluster, toy_event: ToyEvent, **more: Any) -> Iterator[RayWorkers]:
    """Hold a gateway; at the end nothing of it is left, on nodes and in Ray."""
    n_before = cluster.processes_of(*OURS)
    with tempfile.TemporaryDirectory(prefix="ramp-t-") as folder:
        # A run that a worker has let go of is not waited for by those that come after it.
        keys: dict[str, Any] = {
            "ray_address": cluster.address,
            "event": "toy",
            "kit_dir": str(toy_event.root / "kit"),
            "work_dir": f"{folder}/work",
            "node_dir": f"{folder}/nodes",
            "adopt_within_seconds": 1,
            **more,
        }
        workers = RayWorkers(toy_event, Path(folder), keys)
        with workers.client:
            yield workers
        workers.nodes.await_no_agents()
        wait_until(lambda: cluster.processes_of(*OURS) <= n_before, "the end of all in Ray")
