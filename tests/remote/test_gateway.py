"""What dies, and what goes on: gateway, dispatcher, node, cluster; with real nodes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.base import WorkerStatus
from ramp_engine.errors import (
    CollectError,
    ResourceUnavailableError,
    WorkerLostError,
    WorkerSetupError,
)
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.room import find_full
from ramp_engine.testing import Scenario, ToyEvent
from tests.remote.node_room import PATIENCE_SECONDS, is_alive, wait_until
from tests.remote.thread_cluster import Cluster, thread_cluster

SAVING = """\
import os
import signal
import time
from pathlib import Path

import numpy as np


class Saving:
    def fit(self, X, y):
        step = Path(os.environ["RAMP_CHECKPOINT_DIR"], "step")
        if step.exists():
            print("resumed from", step.read_text())
            return self
        def save(number, frame):
            step.write_text("step 7")
            os._exit(0)
        signal.signal(signal.SIGTERM, save)
        print("waiting", flush=True)
        while True:
            time.sleep(60)

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))


def get_estimator():
    return Saving()
"""


@pytest.fixture(scope="module")
def cluster(toy_event: ToyEvent) -> Iterator[Cluster]:
    with thread_cluster(toy_event) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> Iterator[GatewayClient]:
    with cluster.client() as client:
        yield client


@contextmanager
def launched(worker: RemoteWorker) -> Iterator[RemoteWorker]:
    try:
        worker.setup()
        worker.launch_submission()
        yield worker
    finally:
        worker.teardown()


def await_first_fold(worker: RemoteWorker) -> None:
    def is_there() -> bool:
        assert worker.status is WorkerStatus.RUNNING
        return list(worker.collect_done_folds()) == [0]

    wait_until(is_there, "fold 0")


def await_log(worker: RemoteWorker, text: bytes) -> None:
    log = Path(json.loads(worker.handle() or "")["scratch"], "log")
    wait_until(lambda: text in log.read_bytes(), f"{text!r} in the log")


def await_end(worker: RemoteWorker) -> WorkerStatus:
    wait_until(lambda: worker.status is not WorkerStatus.RUNNING, "the end of the run")
    return worker.status


def test_a_gateway_that_is_killed_costs_nothing_but_what_ran(
    cluster: Cluster, client: GatewayClient
) -> None:
    away = Path(cluster.keys["away"])
    with launched(cluster.worker(client, Scenario.HALF)) as worker:
        await_first_fold(worker)
        away.touch()
        assert client.pid is not None
        os.kill(client.pid, signal.SIGKILL)
        assert await_end(worker) is WorkerStatus.RETRY
        assert list(worker.collect_done_folds()) == [0]
        worker.cancel()
        cluster.await_nothing_runs()
    wait_until(lambda: "no scheduler answers" in _refusal(client), "the reason")
    with pytest.raises(ResourceUnavailableError, match="no scheduler answers"):
        cluster.worker(client, Scenario.GOOD).setup()
    away.unlink()
    wait_until(lambda: not _refusal(client), "another gateway")
    assert cluster.worker(client, Scenario.GOOD).launch() == (0, "")


def _refusal(client: GatewayClient) -> str:
    try:
        client.connection()
    except ResourceUnavailableError as error:
        return str(error)
    return ""


def test_a_lost_node_costs_a_fold(cluster: Cluster, client: GatewayClient) -> None:
    with launched(cluster.worker(client, Scenario.HALF)) as worker:
        await_first_fold(worker)
        [node] = [node["name"] for node in _nodes(client) if node["n_free"] < node["n_slots"]]
        cluster.tell("lose", node=node)
        assert await_end(worker) is WorkerStatus.FINISHED
        with pytest.raises(WorkerLostError, match=f"fold 1: node {node} died"):
            worker.collect_results()
        assert (Path(worker.config["predictions_dir"]) / worker.submission / "fold_0").is_dir()
    cluster.tell("bring", node=node)


def _nodes(client: GatewayClient) -> list[dict[str, Any]]:
    nodes: list[dict[str, Any]] = client.ask("nodes")["nodes"]
    return nodes


def test_nodes_tell_what_they_are(client: GatewayClient) -> None:
    nodes = _nodes(client)
    assert [node["name"] for node in nodes] == ["n1", "n2"]
    wait_until(lambda: all(node["facts"].get("python") for node in _nodes(client)), "the facts")
    assert client.level == _nodes(client)[0]["facts"]["level"]
    assert client.environment


def test_a_run_can_be_held_to_one_node(cluster: Cluster, client: GatewayClient) -> None:
    with launched(cluster.worker(client, Scenario.HANGING, node="n2")) as worker:
        await_log(worker, b"hanging")
        busy = {node["name"]: node["n_slots"] - node["n_free"] for node in _nodes(client)}
        assert busy == {"n1": 0, "n2": 2}


def test_a_reclaimed_fold_goes_on_elsewhere_with_what_it_saved(
    cluster: Cluster, client: GatewayClient
) -> None:
    worker = cluster.worker(client, Scenario.GOOD, folds=[1])
    Path(worker.config["submissions_dir"], worker.submission, "estimator.py").write_text(SAVING)
    with launched(worker):
        await_log(worker, b"waiting")
        [node] = [node["name"] for node in _nodes(client) if node["n_free"] < node["n_slots"]]
        cluster.tell("reclaim", node=node)
        assert await_end(worker) is WorkerStatus.FINISHED
        assert worker.collect_results() == (0, "")
        log = Path(worker.config["logs_dir"], worker.submission, "log").read_text()
        assert "fold 1 is begun again: spot notice, with what it has saved" in log
        assert "resumed from step 7" in log
    cluster.tell("bring", node=node)


def test_a_job_that_begins_after_its_cancel_is_ended(
    cluster: Cluster, client: GatewayClient
) -> None:
    cluster.tell("hold", is_deaf=True)
    with launched(cluster.worker(client, Scenario.HANGING)) as worker:
        canceling = threading.Thread(target=worker.cancel)
        canceling.start()
        # The gateway has the cancel when it answers what was asked after it.
        wait_until(lambda: len(_nodes(client)) == 2 and canceling.is_alive(), "an answer")
        cluster.tell("go_on")
        canceling.join(PATIENCE_SECONDS)
        assert not canceling.is_alive()
        assert worker.status is WorkerStatus.KILLED
        cluster.await_nothing_runs()
        assert all(node["n_free"] == node["n_slots"] for node in _nodes(client))


@pytest.fixture
def dispatcher(
    toy_event: ToyEvent, request: pytest.FixtureRequest
) -> Iterator[tuple[Cluster, dict[str, Any], subprocess.Popen[bytes], dict[str, Any]]]:
    """A dispatcher in a process of its own, with a run that hangs in its second fold."""
    adopt_within = getattr(request, "param", 60)
    with thread_cluster(toy_event, adopt_within_seconds=adopt_within) as cluster:
        name = "submission_000000001"
        config = cluster.config(Scenario.HALF, name)
        command = [sys.executable, "-m", "tests.remote.lone_dispatcher", json.dumps(config), name]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            told: dict[str, Any] = {"gateway": 0}
            try:
                assert process.stdout is not None
                told = json.loads(process.stdout.readline())
                yield cluster, config, process, told
            finally:
                process.kill()
                if told["gateway"] and is_alive(told["gateway"]):
                    os.kill(told["gateway"], signal.SIGKILL)


def test_the_run_of_a_dispatcher_that_was_killed_is_taken_over(
    dispatcher: tuple[Cluster, dict[str, Any], subprocess.Popen[bytes], dict[str, Any]],
) -> None:
    cluster, config, process, told = dispatcher
    process.kill()
    process.wait()
    cluster.keys["control"] += "-2"
    with cluster.client() as client:
        worker = cluster.worker(client, Scenario.HALF)
        worker.config |= {key: config[key] for key in ("submissions_dir",)}
        worker.attach(told["handle"])
        await_first_fold(worker)
        worker.cancel()
        worker.teardown()
        cluster.await_nothing_runs()
        wait_until(lambda: not is_alive(told["gateway"]), "the end of the other gateway")
        with pytest.raises(WorkerLostError):
            cluster.worker(client, Scenario.HALF).attach(told["handle"])


@pytest.mark.parametrize("dispatcher", [1], indirect=True)
def test_a_run_that_nobody_takes_over_is_ended(
    dispatcher: tuple[Cluster, dict[str, Any], subprocess.Popen[bytes], dict[str, Any]],
) -> None:
    cluster, _, process, told = dispatcher
    scratch = Path(json.loads(told["handle"])["scratch"])
    log = scratch / "log"
    wait_until(lambda: b"fold 1" in log.read_bytes(), "the second fold")
    process.kill()
    wait_until(lambda: not is_alive(told["gateway"]), "the end of the gateway")
    cluster.await_nothing_runs()
    assert not scratch.exists()


def test_other_libraries_on_nodes_are_told_with_both_versions(
    toy_event: ToyEvent, tmp_path: Path
) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\necho '["python==3.11.7", "numpy==0.1", "pip==1"]'\n""")
    python.chmod(0o755)
    words = r"node n1 .*numpy is [\d.]+ there and 0.1 here"
    with (
        thread_cluster(toy_event, evaluation={"python": str(python)}) as cluster,
        pytest.raises(WorkerSetupError, match=words),
    ):
        cluster.client().__enter__()


def test_a_node_of_other_versions_is_left_out(
    toy_event: ToyEvent, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        thread_cluster(toy_event, old_nodes=["n1"]) as cluster,
        cluster.client() as client,
    ):
        nodes = {node["name"]: node["fault"] for node in _nodes(client)}
        assert nodes["n2"] is None
        assert "Python is 3.2 there" in nodes["n1"]
        [told] = caplog.messages
        assert nodes["n1"] in told
        with launched(cluster.worker(client, Scenario.HANGING)) as worker:
            await_log(worker, b"hanging")
            free = {node["name"]: node["n_free"] for node in _nodes(client)}
            assert free == {"n1": 2, "n2": 0}


def test_a_disk_here_that_is_full_is_told_as_such(cluster: Cluster, client: GatewayClient) -> None:
    with launched(cluster.worker(client, Scenario.GOOD, folds=[0])) as worker:
        scratch = Path(json.loads(worker.handle() or "")["scratch"])
        (scratch / f".result.json.{client.pid}").symlink_to("/dev/full")
        assert await_end(worker) is WorkerStatus.FINISHED
        with pytest.raises(CollectError) as caught:
            worker.collect_results()
    assert find_full(caught.value, Path("other")) is not None


def test_a_cluster_that_is_away_is_told(toy_event: ToyEvent) -> None:
    with thread_cluster(toy_event) as cluster:
        Path(cluster.keys["away"]).touch()
        with pytest.raises(WorkerSetupError, match="no scheduler answers"):
            cluster.client().__enter__()
