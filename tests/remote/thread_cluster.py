"""A cluster of threads, and dispatchers' clients of it, for a test."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.node.place import Place
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent
from tests.open_environment import open_python
from tests.remote.node_room import end_agent, wait_until
from tests.remote.thread_engine import control

ENGINE = "tests.remote.thread_engine:open_engine"


class ThreadWorker(RemoteWorker):
    engine: ClassVar[str] = ENGINE


class Cluster:
    """Two nodes that share this machine."""

    def __init__(self, folder: Path, toy_event: ToyEvent, **keys: Any) -> None:
        self.folder, self._event = folder, toy_event
        self._n_submissions = 0
        self.nodes = ["n1", "n2"]
        self.keys: dict[str, Any] = {
            "nodes": self.nodes,
            "control": str(folder / "control"),
            "away": str(folder / "away"),
            "node_dir": str(folder),
            "work_dir": str(folder / "work"),
            "python": str(open_python()),
            "event": folder.name,
            "lease_seconds": 20,
            "adopt_within_seconds": 60,
            **keys,
        }

    def config(self, scenario: Scenario, submission: str, **keys: Any) -> dict[str, Any]:
        self._n_submissions += 1
        attempt = self.folder / f"attempt-{self._n_submissions}"
        return self._event.config(attempt, submission, scenario, **(self.keys | keys))

    def client(self) -> GatewayClient:
        return GatewayClient(ENGINE, self.keys)

    def worker(
        self,
        client: GatewayClient,
        scenario: Scenario,
        submission: str = "submission_000000001",
        **keys: Any,
    ) -> ThreadWorker:
        worker = ThreadWorker(self.config(scenario, submission, **keys), submission)
        worker.shared = client
        return worker

    def tell(self, do: str, **more: Any) -> None:
        control(Path(self.keys["control"]), do, **more)

    def place(self, node: str) -> Place:
        return Place.of(Requests(self.keys, "").make("info").header["site"], node)

    def await_nothing_runs(self) -> None:
        """Wait until no fold is left on any node."""
        runs = [self.place(node).runs for node in self.nodes]
        wait_until(lambda: not any(map(_entries, runs)), "the end of what runs on nodes")

    def end(self) -> None:
        for node in self.nodes:
            end_agent(self.place(node))


def _entries(path: Path) -> list[Path]:
    return list(path.iterdir()) if path.is_dir() else []


@contextlib.contextmanager
def thread_cluster(toy_event: ToyEvent, **keys: Any) -> Iterator[Cluster]:
    """Hold a cluster; at the end nothing runs on its nodes."""
    with (
        tempfile.TemporaryDirectory(prefix="ramp-t-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("RAMP_INSTANCE_METADATA", "")  # no node asks a network for notices
        cluster = Cluster(Path(folder), toy_event, **keys)
        try:
            yield cluster
        finally:
            cluster.end()
