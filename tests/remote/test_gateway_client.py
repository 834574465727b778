"""A dispatcher's side of its gateway: waiting for a cluster, closing, and what is left on disk."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest

from ramp_database.session import Database
from ramp_engine.errors import ResourceUnavailableError
from ramp_engine.premises import JOIN_SECONDS, Premises
from ramp_engine.remote.frames import receive, send
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.gateway.connection import GatewayConnection
from ramp_engine.remote.gateway.folders import gateways_of, packed_of, sweep
from ramp_engine.remote.known_facts import KnownFacts
from ramp_engine.testing import Scenario, ToyEvent, deploy_fake_event
from tests.remote.node_room import PATIENCE_SECONDS, is_alive, wait_until
from tests.remote.thread_cluster import ENGINE, Cluster, ThreadWorker, thread_cluster


@pytest.fixture
def cluster(toy_event: ToyEvent) -> Iterator[Cluster]:
    with thread_cluster(toy_event) as cluster:
        yield cluster


def test_workers_wait_for_a_cluster_that_is_away_when_their_dispatcher_starts(
    cluster: Cluster,
) -> None:
    away = Path(cluster.keys["away"])
    away.touch()
    with ThreadWorker.open_shared(cluster.keys) as client:
        with pytest.raises(ResourceUnavailableError, match="no scheduler answers"):
            cluster.worker(client, Scenario.GOOD).setup()
        away.unlink()
        wait_until(lambda: _is_there(client), "the gateway")
        assert cluster.worker(client, Scenario.GOOD).launch() == (0, "")
        environment = client.environment
    away.touch()
    with ThreadWorker.open_shared(cluster.keys) as client:
        assert environment
        assert client.environment == environment, "what is done still counts"


def _is_there(client: GatewayClient) -> bool:
    try:
        client.connection()
    except ResourceUnavailableError:
        return False
    return True


def test_a_gateway_that_is_being_started_ends_with_its_dispatcher(cluster: Cluster) -> None:
    client = GatewayClient(ENGINE, cluster.keys, is_patient=True)
    entering = threading.Thread(target=client.__enter__)
    entering.start()
    wait_until(lambda: client.pid is not None, "the process")
    client.__exit__()
    entering.join(PATIENCE_SECONDS)
    assert not entering.is_alive()
    assert client.pid is not None
    assert not is_alive(client.pid)
    assert list(gateways_of(Path(cluster.keys["work_dir"])).iterdir()) == []


class _Early(ThreadWorker):
    """One whose dispatcher begins at once to connect to the cluster of a test."""

    keys: ClassVar[dict[str, Any]]

    @classmethod
    @contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[GatewayClient]:
        with super().open_shared(config | cls.keys) as client:
            yield client


def test_a_dispatcher_ends_at_once_while_its_cluster_is_away(
    cluster: Cluster, tmp_path: Path
) -> None:
    Path(cluster.keys["away"]).write_text("hangs")
    _Early.keys = {**cluster.keys, "dask_scheduler": "tcp://of-others:1"}
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    database.upgrade()
    event = deploy_fake_event(database, tmp_path, n_threads=1)
    database.dispose()
    premises = Premises(event, _Early)
    waiting = threading.Thread(target=lambda: _refused(premises))
    with closing(premises):
        premises.begin()
        client = cast("GatewayClient", premises.shared())
        wait_until(lambda: client.pid is not None, "the process")
        waiting.start()
        began = time.monotonic()
    waiting.join(PATIENCE_SECONDS)
    assert not waiting.is_alive()
    assert time.monotonic() - began < JOIN_SECONDS / 2, "nobody has waited for anybody"
    assert client.pid is not None
    assert not is_alive(client.pid)
    assert "premises" not in {thread.name for thread in threading.enumerate()}


def _refused(premises: Premises) -> None:
    """Be a run that waits for the cluster."""
    with suppress(ResourceUnavailableError):
        cast("GatewayClient", premises.shared()).connection()


MORTAL = """
import json, sys, time
from ramp_engine.remote.gateway.client import GatewayClient
with GatewayClient(sys.argv[1], json.loads(sys.argv[2]), is_patient=True) as client:
    while client.pid is None:
        time.sleep(0.01)
    print(client.pid, flush=True)
    sys.stdin.read()
"""


def test_a_gateway_that_connects_ends_with_a_dispatcher_that_is_killed(cluster: Cluster) -> None:
    Path(cluster.keys["away"]).write_text("hangs")
    keys = {**cluster.keys, "dask_scheduler": "tcp://of-others:1"}
    command = [sys.executable, "-c", MORTAL, ENGINE, json.dumps(keys)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as dispatcher:
        assert dispatcher.stdout is not None
        gateway = int(dispatcher.stdout.readline())
        dispatcher.kill()
    wait_until(lambda: not is_alive(gateway), "the end of the gateway")


def test_a_gateway_that_dies_when_it_has_answered_is_noticed() -> None:
    for _ in range(50):
        ours, theirs = socket.socketpair()
        is_lost = threading.Event()
        said: list[str] = []
        connection = GatewayConnection(
            ours, Path("socket"), lambda _: None, lambda _, lost=is_lost: lost.set()
        )
        connection.listen("run", lambda header, said=said: said.append(header["how"]))
        answering = threading.Thread(target=_answer_and_die, args=(theirs,))
        answering.start()
        assert connection.ask("nodes")["answer"] == 1
        assert is_lost.wait(PATIENCE_SECONDS)
        answering.join()
        assert said == ["interrupted"]


def _answer_and_die(channel: socket.socket) -> None:
    with channel:
        frame = receive(channel)
        assert frame is not None
        send(channel, {"answer": frame.header["id"]})


def test_what_others_need_is_not_swept_away(tmp_path: Path) -> None:
    (tmp_path / "bundles" / "used").mkdir(parents=True)
    dead, young = (gateways_of(tmp_path) / name for name in ("dead", "young"))
    kept, useless = (packed_of(tmp_path) / name for name in ("used.tar", "gone.tar"))
    for folder in (dead, young, packed_of(tmp_path)):
        folder.mkdir(parents=True)
    for path in (kept, useless):
        path.touch()
    for path in (dead, packed_of(tmp_path), kept, useless):
        os.utime(path, (time.time() - 100_000,) * 2)
    sweep(tmp_path)
    assert kept.exists()
    assert young.exists()
    assert not useless.exists()
    assert not dead.exists()


def test_what_is_known_of_nodes_counts_for_the_same_requirements_only(tmp_path: Path) -> None:
    config = {"work_dir": str(tmp_path), "kit_dir": str(tmp_path)}
    known = KnownFacts(config)
    known.note({"level": "landlock", "environment": "e1"})
    known.note({"level": None, "environment": ""})
    assert known["environment"] == "e1"
    assert KnownFacts(config)["level"] == "landlock"
    (tmp_path / "requirements.txt").write_text("numpy\n")
    assert KnownFacts(config)["environment"] == ""
