"""`ray_engine` against real Ray clusters: a head and three nodes on this machine."""

from __future__ import annotations

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ramp_engine.remote.engine import (
    Demands,
    EngineFailed,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
    NodeLeaving,
    NodeLost,
)
from tests.remote.engine_process import PATIENCE_SECONDS, EngineProcess
from tests.remote.ray_cluster import RayCluster

NODES = {
    "spot": ["--num-cpus=1"],
    "plain": ["--num-cpus=1"],
    "gpu": ["--num-cpus=2", '--resources={"V100": 1}', "--num-gpus=1"],
    "full": ["--num-cpus=1"],
}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    full = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}
    with RayCluster(NODES, variables_of={"full": full}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def shared(cluster: RayCluster) -> Iterator[EngineProcess]:
    with EngineProcess(config_of(cluster)) as engine:
        yield engine


def config_of(cluster: RayCluster, **more: object) -> dict[str, object]:
    return {"event": "iris", "ray_address": cluster.address, "start_timeout": 2.0, **more}


def on(name: str, **more: object) -> Demands:
    return Demands(labels={"name": name}, **more)


def test_a_job_says_its_words_in_order_and_ends_after_them(shared: EngineProcess) -> None:
    shared.submit("talks", n_said=50, payload=b"submission" * 200_000, demands=on("plain"))
    end = shared.end_of("talks")
    assert isinstance(end, JobEnded)
    assert end.frame.payload == b"submission" * 200_000
    facts = {"n_slots": 1, "gpus": None, "nice": 0, "mark": None}
    assert end.frame.header == {"said": "ended", **facts}
    *said, last = shared.of("talks")
    assert last is end
    numbers = [event.frame.header.get("number") for event in said if isinstance(event, JobSaid)]
    assert numbers == [*range(50), None]
    assert end.node == shared.nodes()["plain"].name


def test_jobs_avoid_nodes(shared: EngineProcess) -> None:
    nodes = shared.nodes()
    for name in ("plain", "spot"):
        others = frozenset(node.name for node in nodes.values()) - {nodes[name].name}
        shared.submit(f"only on {name}", avoid=others)
    for name in ("plain", "spot"):
        end = shared.end_of(f"only on {name}")
        assert isinstance(end, JobEnded)
        assert end.node == nodes[name].name


def test_a_job_gets_the_gpu_that_ray_has_assigned(shared: EngineProcess) -> None:
    demands = Demands(gpus=1, resources={"V100": 1}, memory_mb=100)
    shared.submit("gpu", demands)
    end = shared.end_of("gpu")
    assert isinstance(end, JobEnded)
    assert end.frame.header["gpus"] == ["0"]
    nodes = shared.nodes(demands)
    assert {name: node.n_slots for name, node in nodes.items()} == {
        "head": 0,
        "spot": 0,
        "plain": 0,
        "full": 0,
        "gpu": 1,
    }
    assert nodes["gpu"].facts["resources"] == {"V100": 1.0}


def test_an_agent_answers_while_all_cores_of_its_node_are_busy(
    shared: EngineProcess, tmp_path: Path
) -> None:
    shared.submit("busy", on("plain"), until=str(tmp_path / "go"))
    shared.wait_for(lambda _: bool(shared.of("busy")))
    node = shared.nodes()["plain"]
    asked = [shared.call(node.name, {"op": "info", "n": n}, b"\0" * n) for n in range(20)]
    assert [call.result(PATIENCE_SECONDS).payload for call in asked] == [
        b"\0" * n for n in range(20)
    ]
    (tmp_path / "go").touch()
    assert isinstance(shared.end_of("busy"), JobEnded)


def test_a_job_that_has_not_begun_is_withdrawn_and_one_that_runs_goes_on(
    shared: EngineProcess, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    demands = Demands(resources={"V100": 1})
    shared.submit("first", demands, until=str(tmp_path / "go"))
    shared.wait_for(lambda _: bool(shared.of("first")))
    shared.submit("second", demands, begun=str(begun))
    shared.ask("withdraw", "second")
    shared.ask("withdraw", "first")
    assert isinstance(shared.end_of("second"), JobLost)
    (tmp_path / "go").touch()
    assert isinstance(shared.end_of("first"), JobEnded)
    assert not begun.exists()


def test_a_demand_that_no_node_can_meet_is_told_and_one_that_waits_is_not(
    shared: EngineProcess, tmp_path: Path
) -> None:
    shared.submit("runs", on("plain"), until=str(tmp_path / "go"))
    shared.wait_for(lambda _: bool(shared.of("runs")))
    shared.submit("waits", on("plain"))
    shared.submit("never", Demands(resources={"TPU": 4}))
    end = shared.end_of("never")
    assert isinstance(end, JobLost)
    assert end.loss is Loss.UNPLACED
    assert "TPU: 4" in end.reason
    assert "V100: 1" in end.reason
    assert not shared.of("waits")
    (tmp_path / "go").touch()
    assert isinstance(shared.end_of("waits"), JobEnded)


def test_what_goes_wrong_on_a_node_is_told_apart(shared: EngineProcess) -> None:
    shared.submit("raises", on("plain"), raised="no such thing")
    shared.submit("agent dies", on("plain"), lost="the agent has died")
    shared.submit("fills memory", on("full"), until="/nonexistent")
    ends = {job: shared.end_of(job) for job in ("raises", "agent dies", "fills memory")}
    assert ends["raises"] == JobLost("raises", Loss.BROKEN, "RuntimeError: no such thing")
    assert ends["agent dies"] == JobLost("agent dies", Loss.NODE, "the agent has died")
    memory = ends["fills memory"]
    assert isinstance(memory, JobLost)
    assert memory.loss is Loss.MEMORY, memory


def test_a_killed_node_costs_its_job_once_and_nothing_runs_again(
    cluster: RayCluster, shared: EngineProcess, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    node = shared.nodes()["spot"].name
    shared.submit("dies", on("spot"), begun=str(begun), until=str(tmp_path / "go"))
    asked = shared.call(node, {"until": str(tmp_path / "go")})
    shared.wait_for(lambda _: bool(shared.of("dies")))
    cluster.kill("spot")
    end = shared.end_of("dies")
    assert isinstance(end, JobLost)
    assert end.loss is Loss.NODE
    with pytest.raises(RuntimeError, match=node):
        asked.result(PATIENCE_SECONDS)
    assert shared.first(NodeLost).node == node
    cluster.start("spot")
    shared.submit("after", on("spot"))
    assert isinstance(shared.end_of("after"), JobEnded)
    assert begun.read_text().splitlines() == [node]
    assert "spot" in shared.nodes()
    with pytest.raises(RuntimeError, match=node):
        shared.call(node, {}).result(PATIENCE_SECONDS)


def test_a_node_that_is_drained_says_so_and_its_job_is_reclaimed(
    cluster: RayCluster, shared: EngineProcess, tmp_path: Path
) -> None:
    node = shared.nodes()["spot"].name
    shared.submit("leaves", on("spot"), until=str(tmp_path / "go"))
    shared.wait_for(lambda _: bool(shared.of("leaves")))
    cluster.drain(node, 300)
    assert shared.first(NodeLeaving).node == node
    described = shared.nodes()["spot"]
    assert (described.is_leaving, described.n_free) == (True, 0)
    cluster.kill("spot")
    end = shared.end_of("leaves")
    assert isinstance(end, JobLost)
    assert end.loss is Loss.RECLAIMED, end
    cluster.start("spot")


def test_two_events_share_a_cluster_and_each_leaves_nothing(
    cluster: RayCluster, shared: EngineProcess, tmp_path: Path
) -> None:
    theirs = {"env_vars": {"MARK": "theirs"}}
    with EngineProcess(config_of(cluster, event="digits", runtime_env=theirs)) as other:
        other.submit("first", on("plain"))
        end = other.end_of("first")
        assert isinstance(end, JobEnded)
        assert end.frame.header["mark"] == "theirs"
        for engine in (shared, other):
            engine.submit("same name", on("gpu"), until=str(tmp_path / "go"))
            engine.call(engine.nodes()["gpu"].name, {}).result(PATIENCE_SECONDS)
        for engine in (shared, other):
            engine.wait_for(lambda _, engine=engine: bool(engine.of("same name")))
        assert cluster.processes_of("PostOffice") == 2
        other.leave()
        wait_until(lambda: cluster.processes_of("PostOffice", "same name") == 2)
    (tmp_path / "go").touch()
    assert isinstance(shared.end_of("same name"), JobEnded)


def test_a_client_from_elsewhere_runs_jobs_and_leaves_nothing_when_it_is_killed(
    cluster: RayCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ray waits 30 s for a client that is gone to come back, unless the client has said otherwise.
    monkeypatch.setenv("RAY_CLIENT_RECONNECT_GRACE_PERIOD", "2")
    n_before = cluster.processes_of("PostOffice")
    with (
        cluster.client_server() as address,
        EngineProcess(config_of(cluster, ray_address=address)) as engine,
    ):
        engine.submit("far", on("plain"), n_said=3, payload=b"x" * 300_000)
        end = engine.end_of("far")
        assert isinstance(end, JobEnded)
        assert len(end.frame.payload) == 300_000
        assert len(engine.of("far")) == 5
        node = engine.nodes()["plain"].name
        assert engine.call(node, {}).result(PATIENCE_SECONDS).header["node"] == node
        engine.submit("dies", on("plain"), until="/nonexistent")
        engine.wait_for(lambda _: bool(engine.of("dies")))
        engine.kill()
    wait_until(lambda: cluster.processes_of("PostOffice", "dies") == n_before)


def test_a_local_ray_serves_an_event_and_leaves_nothing(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 64)  # that of some other cluster
    with EngineProcess({"event": "iris"}) as engine:
        n_cores = os.cpu_count()
        (node,) = engine.ask("nodes", Demands())
        assert (node.n_slots, node.n_free) == (n_cores, n_cores)
        jobs = [f"job {number}" for number in range(20)]
        for job in jobs:
            engine.submit(job, n_said=2)
        for job in jobs:
            assert isinstance(engine.end_of(job), JobEnded)
        assert len(engine.events) == 4 * len(jobs)
        assert processes_in(room)
    wait_until(lambda: not processes_in(room))
    assert not list(room.iterdir())


def test_a_local_ray_wants_its_token_and_ends_with_a_gateway_that_is_killed(room: Path) -> None:
    with EngineProcess({"event": "iris"}) as engine:
        (directory,) = room.glob("ramp-ray-*")
        address = (directory / "ray" / "ray_current_cluster").read_text()
        wrong = room / "wrong"
        wrong.write_text("0" * 64)
        for config in ({}, {"token_file": str(wrong)}):
            with pytest.raises(RuntimeError, match=r"WorkerSetupError: .* refuses the token"):
                EngineProcess({"ray_address": address, **config})
        wrong.unlink()
        right = {"ray_address": address, "token_file": str(directory / "token")}
        with EngineProcess(right) as other:
            other.submit("welcome")
            assert isinstance(other.end_of("welcome"), JobEnded)
        engine.submit("dies", until="/nonexistent")
        engine.wait_for(lambda _: bool(engine.of("dies")))
        engine.kill()
    wait_until(lambda: not processes_in(room))
    wait_until(lambda: not list(room.iterdir()))


def test_the_end_of_the_head_is_told_and_a_new_head_is_found(cluster: RayCluster) -> None:
    for name in NODES.keys() - {"plain"}:  # nodes without a head only keep this machine busy
        cluster.kill(name)
    with EngineProcess(config_of(cluster)) as engine:
        engine.submit("lost with it", on("plain"), until="/nonexistent")
        asked = engine.call(engine.nodes()["plain"].name, {"until": "/nonexistent"})
        engine.wait_for(lambda _: bool(engine.of("lost with it")))
        cluster.kill("head")
        assert "head" in engine.first(EngineFailed).reason
        with pytest.raises(RuntimeError, match="head"):
            asked.result(PATIENCE_SECONDS)
        assert engine.ask("nodes", Demands()) == []
    with pytest.raises(RuntimeError, match="WorkerSetupError: no Ray cluster can be reached"):
        EngineProcess(config_of(cluster))
    cluster.kill("plain")
    cluster.start_head()
    with EngineProcess(config_of(cluster)) as engine:
        assert engine.nodes()["head"].n_slots == 0


def test_a_cluster_of_other_versions_is_refused_with_those_of_both_sides(
    cluster: RayCluster,
) -> None:
    cluster.pretend_versions(ray="2.49.1", python="3.10.4")
    with pytest.raises(RuntimeError, match="WorkerSetupError") as refused:
        EngineProcess(config_of(cluster))
    for version in ("2.49.1", "3.10.4", platform.python_version()):
        assert version in str(refused.value)


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory for temporary files of a test's own, with a short path, as sockets need it."""
    with tempfile.TemporaryDirectory(prefix="room-", dir="/tmp") as directory:
        monkeypatch.setenv("TMPDIR", directory)
        yield Path(directory)


def processes_in(room: Path) -> list[int]:
    """List the processes that were started with this room."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TMPDIR={room}".encode() in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
