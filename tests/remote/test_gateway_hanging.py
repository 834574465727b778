"""A node that hangs: its agent is stopped, and nothing above it notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ramp_engine.base import WorkerStatus
from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.frames import receive
from ramp_engine.remote.node.place import Place
from ramp_engine.testing import Scenario, ToyEvent
from tests.remote.node_room import wait_until
from tests.remote.thread_cluster import thread_cluster


@contextmanager
def stopped(place: Place) -> Iterator[None]:
    """Stop an agent for a while."""
    with place.connect(10.0) as channel:
        greeting = receive(channel)
    assert greeting is not None
    pid = greeting.header["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_node_that_hangs_costs_its_folds_which_run_elsewhere(toy_event: ToyEvent) -> None:
    with (
        thread_cluster(toy_event, lease_seconds=8) as cluster,
        cluster.client() as client,
    ):
        worker = cluster.worker(client, Scenario.HALF)
        worker.setup()
        worker.launch_submission()
        wait_until(lambda: list(worker.collect_done_folds()) == [0], "fold 0")
        nodes = client.ask("nodes")["nodes"]
        [node] = [node["name"] for node in nodes if node["n_free"] < node["n_slots"]]
        with stopped(cluster.place(node)):
            wait_until(lambda: worker.status is WorkerStatus.FINISHED, "the end of the run")
            with pytest.raises(WorkerLostError, match=f"fold 1: node {node} has not answered"):
                worker.collect_results()
            assert Path(worker.config["predictions_dir"], worker.submission, "fold_0").is_dir()
            worker.teardown()
            assert cluster.worker(client, Scenario.GOOD).launch() == (0, "")
        cluster.await_nothing_runs()
