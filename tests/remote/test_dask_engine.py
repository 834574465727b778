"""The engine on Dask, on real clusters of several nodes."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client

from ramp_engine.errors import WorkerLostError, WorkerSetupError
from ramp_engine.remote.dask.engine import DaskEngine
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
from ramp_engine.remote.frames import Frame
from tests.remote.dask_cluster import Certificates, DaskCluster, members_of, wait_until
from tests.remote.dask_events import Gate, Heard, make_job

ENTRY = "tests.remote.fake_entry"
A, B, C = "127.0.0.2", "127.0.0.3", "127.0.0.4"


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """Give three nodes of one worker with one thread; each test leaves all three there."""
    with DaskCluster(n_nodes=3) as found:
        yield found


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def engine(cluster: DaskCluster, heard: Heard) -> Iterator[DaskEngine]:
    with engine_of(cluster, heard) as found:
        yield found


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def engine_of(cluster: DaskCluster, heard: Heard, **config: Any) -> DaskEngine:
    node_timeout = config.pop("node_timeout", 30.0)
    section = {"dask_scheduler": cluster.address, "event": "iris", **config}
    return DaskEngine(section, heard, ENTRY, node_timeout)


@contextlib.contextmanager
def another_node_after(cluster: DaskCluster, name: str) -> Iterator[None]:
    """Have a node again that does not survive."""
    try:
        yield
    finally:
        cluster.kill(name)
        cluster.log(name).unlink()
        cluster.start_node(name)
        cluster.wait_for_node(name)


def busy_with(engine: DaskEngine, heard: Heard, gate: Gate, *names: str) -> dict[str, str]:
    """Have a job begin on each node; from the job's name to the node."""
    for name in names:
        engine.submit(make_job(name, **gate.header))
    return {name: heard.a(JobSaid, name).node for name in names}


# What goes well


def test_a_job_says_what_it_says_in_order_and_ends_with_its_answer(
    engine: DaskEngine, heard: Heard
) -> None:
    said = [{"said": "log", "offset": number} for number in range(3)]
    engine.submit(make_job("talks", b"x" * 20_000, do="say", frames=said))

    end = heard.end_of("talks")

    assert isinstance(end, JobEnded)
    assert (end.frame.header["how"], end.frame.header["n_slots"]) == ("done", 1)
    assert end.frame.payload == b"x" * 20_000
    assert end.node == end.frame.header["node"]
    talk = [event for event in heard.events if isinstance(event, JobSaid)]
    assert [event.frame for event in talk] == [Frame(header, b"x" * 20_000) for header in said]
    assert heard.events.index(talk[-1]) < heard.events.index(end)


def test_a_job_can_be_sent_to_one_node_and_nodes_are_told_by_their_address(
    cluster: DaskCluster, engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    for number, node in enumerate([B, B, C]):
        engine.submit(make_job(f"at{number}", node=node))
    engine.submit(make_job("nowhere", node="127.0.0.9"))

    assert [heard.end_of(f"at{number}").node for number in range(3)] == [B, B, C]
    assert heard.end_of("nowhere").loss is Loss.UNPLACED
    engine.submit(make_job("holds", node=A, **gate.header))
    heard.a(JobSaid, "holds")
    nodes = {node.name: (node.n_slots, node.n_free) for node in engine.nodes(Demands())}
    assert nodes == {A: (1, 0), B: (1, 1), C: (1, 1)}
    gate.open()
    heard.end_of("holds")


def test_a_question_is_answered_while_all_threads_are_busy(
    engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    nodes = busy_with(engine, heard, gate, "one", "two", "three")

    answers = {node: engine.call(node, Frame({"op": "info"}, b"?")) for node in nodes.values()}

    assert set(answers) == {A, B, C}
    for node, answer in answers.items():
        header, payload = answer.result()
        assert header == {"op": "info", "node": node, "in_loop": False}
        assert payload == b"?"
    assert not [event for event in heard.events if isinstance(event, JobEnded)]
    with pytest.raises(WorkerLostError, match=r"no Dask worker on 127\.0\.0\.9"):
        engine.call("127.0.0.9", Frame({"op": "info"})).result()
    gate.open()


def test_what_has_begun_goes_on_when_it_is_withdrawn_and_what_waits_never_begins(
    engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    busy_with(engine, heard, gate, "one", "two", "three")
    engine.submit(make_job("waits", **gate.header))

    engine.withdraw("one")
    engine.withdraw("waits")

    assert isinstance(heard.end_of("waits"), JobLost)
    gate.open()
    assert isinstance(heard.end_of("one"), JobEnded)
    engine.submit(make_job("last", node=A))
    heard.end_of("last")
    assert sorted(gate.starts) == ["one", "three", "two"]


def test_each_of_many_jobs_ends_once_when_they_are_withdrawn_as_they_begin(
    engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    gate.open()
    names = [f"many{number}" for number in range(150)]
    for name in names:
        engine.submit(make_job(name, **gate.header))
    for turn, name in enumerate(names):
        if turn % 2:
            wait_until(lambda least=turn // 4: n_ends(heard) >= least, "some ends")  # type: ignore[misc]
            engine.withdraw(name)

    ends = {name: heard.end_of(name) for name in names}

    assert [name for name in names if len(heard.ends_of(name)) != 1] == []
    assert all(isinstance(ends[name], JobEnded) for name in names[::2])
    assert len(gate.starts) == len(set(gate.starts))
    ended = {name for name, end in ends.items() if isinstance(end, JobEnded)}
    assert ended <= set(gate.starts)
    assert {JobEnded, JobLost} == set(map(type, ends.values()))


def n_ends(heard: Heard) -> int:
    return sum(isinstance(event, JobEnded | JobLost) for event in heard.events)


def test_a_job_that_raises_is_broken_and_one_whose_agent_dies_has_lost_its_node(
    engine: DaskEngine, heard: Heard
) -> None:
    engine.submit(make_job("breaks", do="break"))
    engine.submit(make_job("loses", do="die"))

    broken, lost = heard.end_of("breaks"), heard.end_of("loses")

    assert (broken.loss, lost.loss) == (Loss.BROKEN, Loss.NODE)
    assert "ImportError: No module named 'rampwf'" in broken.reason


def test_nothing_of_an_engine_remains_on_the_scheduler(
    cluster: DaskCluster, heard: Heard, gate: Gate
) -> None:
    with engine_of(cluster, heard) as engine:
        busy_with(engine, heard, gate, "one", "two", "three")
        engine.submit(make_job("waits", **gate.header))
        engine.submit(make_job("gone"))
        engine.withdraw("gone")
        heard.end_of("gone")
    gate.open()

    assert isinstance(heard.end_of("waits"), JobLost)
    with Client(cluster.address, set_as_default=False) as client:
        left = client.run_on_scheduler(what_remains)
    assert left == {"keys": [], "subscribers": []}
    assert len(gate.starts) == 3


def what_remains(dask_scheduler: Any) -> dict[str, list[str]]:
    subscribers = {
        name
        for topic in dask_scheduler._broker._topics.values()
        for name in topic.subscribers
        if "ramp" in name and name in dask_scheduler.clients
    }
    return {"keys": list(dask_scheduler.tasks), "subscribers": sorted(subscribers)}


# Nodes that leave, die, hang


def test_a_killed_node_costs_its_job_once_and_what_waited_there_runs_elsewhere(
    cluster: DaskCluster, engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    nodes = busy_with(engine, heard, gate, "one", "two", "three")
    waiting = [f"waits{number}" for number in range(6)]
    for name in waiting:
        engine.submit(make_job(name, **gate.header))

    with another_node_after(cluster, nodes["one"]):
        cluster.kill(nodes["one"])
        lost = heard.end_of("one")
        gate.open()
        ends = [heard.end_of(name) for name in ["two", "three", *waiting]]

    assert lost.loss is Loss.NODE
    assert heard.a(NodeLost).node == nodes["one"]
    assert all(isinstance(end, JobEnded) for end in ends)
    engine.submit(make_job("last"))
    heard.end_of("last")
    assert sorted(gate.starts) == sorted(["one", "two", "three", *waiting])
    assert len(heard.ends_of("one")) == 1


def test_jobs_avoid_nodes(engine: DaskEngine, heard: Heard) -> None:
    for number, avoid in enumerate([{A, B}, {B, C}, {A, B, C}]):
        engine.submit(make_job(f"elsewhere{number}", avoid=frozenset(avoid)))
    ends = [heard.end_of(f"elsewhere{number}") for number in range(3)]
    assert [getattr(end, "node", None) for end in ends] == [C, A, None]
    assert getattr(ends[2], "loss", None) is Loss.RECLAIMED


@pytest.mark.parametrize("how", ["retired", "terminated"])
def test_a_node_that_was_asked_to_leave_is_told_from_one_that_died(
    cluster: DaskCluster, engine: DaskEngine, heard: Heard, gate: Gate, how: str
) -> None:
    engine.submit(make_job("holds", node=C, **gate.header))
    heard.a(JobSaid, "holds")

    with another_node_after(cluster, C):
        if how == "retired":
            with Client(cluster.address, set_as_default=False) as client:
                (address,) = [name for name in client.ncores() if f"/{C}:" in name]
                client.retire_workers([address])
        else:
            cluster.terminate(C)
        end = heard.end_of("holds")
        leaving, gone = heard.a(NodeLeaving), heard.a(NodeLost)
        gate.open()

    assert end.loss is Loss.RECLAIMED
    assert (leaving.node, gone.node) == (C, C)
    assert gate.starts == ["holds"]


def test_a_node_that_hangs_is_given_up_and_gets_nothing_more(
    cluster: DaskCluster, heard: Heard, gate: Gate
) -> None:
    with engine_of(cluster, heard, node_timeout=2.0) as engine:
        nodes = busy_with(engine, heard, gate, "one", "two", "three")
        for number in range(6):
            engine.submit(make_job(f"waits{number}", **gate.header))
        with another_node_after(cluster, nodes["one"]):
            cluster.stop(nodes["one"])
            lost, gone = heard.end_of("one"), heard.a(NodeLost)
            gate.open()
            for number in range(6):
                heard.end_of(f"waits{number}")
            for number in range(4):
                engine.submit(make_job(f"later{number}"))
            later = [heard.end_of(f"later{number}") for number in range(4)]
            with pytest.raises(WorkerLostError):
                engine.call(nodes["one"], Frame({"op": "info"})).result()

    assert (lost.loss, gone.node) == (Loss.NODE, nodes["one"])
    assert all(isinstance(end, JobEnded) for end in later)
    assert {heard.end_of(f"waits{number}").__class__ for number in range(6)} >= {JobEnded}


def test_a_job_that_waits_for_a_node_is_given_up_with_it(
    cluster: DaskCluster, engine: DaskEngine, heard: Heard, gate: Gate
) -> None:
    engine.submit(make_job("holds", node=C, **gate.header))
    heard.a(JobSaid, "holds")
    with another_node_after(cluster, C):
        engine.submit(make_job("waits", node=C))
        cluster.kill(C)
        lost, forlorn = heard.end_of("holds"), heard.end_of("waits")

    assert (lost.loss, forlorn.loss) == (Loss.NODE, Loss.UNPLACED)


def test_a_worker_that_its_nanny_ends_for_its_memory_is_told_from_one_that_was_killed(
    cluster: DaskCluster, engine: DaskEngine, heard: Heard
) -> None:
    with another_node_after(cluster, B):
        cluster.kill(B)
        heard.a(NodeLost)
        cluster.log(B).unlink()
        cluster.start_node(B, "--memory-limit=400MiB")
        cluster.wait_for_node(B)
        engine.submit(make_job("swells", node=B, do="swell"))
        end = heard.end_of("swells")

    assert end.loss is Loss.MEMORY


# What the cluster offers


def test_a_demand_that_no_worker_declares_is_told_at_once_with_what_to_do(
    engine: DaskEngine, heard: Heard
) -> None:
    engine.submit(make_job("large", demands=Demands(cpus=4, gpus=1, memory_mb=1024)))

    end = heard.end_of("large")

    assert end.loss is Loss.UNPLACED
    assert "they declare nothing (3 of them)" in end.reason
    assert '--resources "CPU=4 GPU=1 MEMORY=1073741824"' in end.reason


def test_declared_resources_are_counted_tls_is_spoken_and_workers_of_a_host_are_one_node(
    tmp_path: Path, heard: Heard, gate: Gate
) -> None:
    certificates = Certificates(tmp_path / "ours")
    with DaskCluster(1, 2, 4, "CPU=4 GPU=1", certificates) as cluster:
        with engine_of(cluster, heard, dask_security=certificates.section) as engine:
            slots = [engine.nodes(Demands(cpus=n))[0].n_slots for n in (1, 2, 3, 4, 5)]
            assert slots == [8, 4, 2, 2, 0]
            for number in range(3):
                demands = Demands(cpus=3, gpus=1)
                engine.submit(make_job(f"gpu{number}", demands=demands, **gate.header))
            heard.wait_for(lambda _: len(gate.starts) == 2)
            (node,) = engine.nodes(Demands(cpus=3, gpus=1))
            assert (node.name, node.n_slots, node.facts["gpus"]) == (A, 2, 2)
            gate.open()
            assert heard.end_of("gpu2").frame.header["n_slots"] == 2
        refused_without_certificates(cluster, tmp_path)


def refused_without_certificates(cluster: DaskCluster, folder: Path) -> None:
    foreign = Certificates(folder / "foreign")
    for section, hint in [({}, "Set dask_security"), (foreign.section, "come from its CA")]:
        with pytest.raises(WorkerSetupError, match=hint) as refusal:
            engine_of(cluster, Heard(), dask_security=section).__enter__()
        assert cluster.address in str(refusal.value)


# Where there is no cluster, or another one


def test_a_scheduler_that_dies_ends_the_engine_and_all_that_comes_later(
    heard: Heard, gate: Gate
) -> None:
    with DaskCluster(n_nodes=1) as cluster:
        with engine_of(cluster, heard) as engine:
            busy_with(engine, heard, gate, "one")
            cluster.kill_scheduler()
            end, failed = heard.end_of("one"), heard.a(EngineFailed)
            engine.submit(make_job("late"))
            late = heard.end_of("late")
            assert engine.nodes(Demands()) == []
        gate.open()

    assert (end.loss, late.loss) == (Loss.CLUSTER, Loss.CLUSTER)
    assert "Dask scheduler is lost" in failed.reason


def test_a_scheduler_that_is_not_there_is_told_within_dasks_own_time(
    heard: Heard,
) -> None:
    engine = DaskEngine({"dask_scheduler": "tcp://127.0.0.1:9"}, heard, ENTRY)
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1s"}),
        pytest.raises(WorkerSetupError, match=r"tcp://127\.0\.0\.1:9 cannot be reached"),
    ):
        engine.__enter__()


@pytest.mark.filterwarnings("ignore:Mismatched versions")
def test_versions_that_differ_are_told_with_both_sides(heard: Heard, tmp_path: Path) -> None:
    Path(tmp_path, "other_version.py").write_text(
        "from distributed import versions\nversions.version = lambda name: '2020.1.0'\n"
    )
    environment = {"DASK_DISTRIBUTED__WORKER__PRELOAD": str(tmp_path / "other_version.py")}
    with (
        DaskCluster(n_nodes=1, environment=environment) as cluster,
        pytest.raises(WorkerSetupError, match="this side has Python") as refusal,
    ):
        engine_of(cluster, heard).__enter__()

    assert f"the worker tcp://{A}:" in str(refusal.value)


def test_without_an_address_a_cluster_is_started_and_nothing_of_it_is_left(
    heard: Heard, tmp_path: Path
) -> None:
    before = set(children())
    with DaskEngine({"event": "iris", "cpus": 1}, heard, ENTRY) as engine:
        (node,) = engine.nodes(Demands())
        engine.submit(make_job("local"))
        assert isinstance(heard.end_of("local"), JobEnded)
        during = set(children()) - before
        ports = set().union(*map(ports_of, [os.getpid(), *during]))
        assert sum(map(speaks_tls, ports)) > 2 * node.n_slots, "scheduler, nannies, workers"

    assert node.name == "127.0.0.1"
    assert node.n_slots == node.facts["n_processes"] == node.facts["cpus"]
    assert len(during) >= node.n_slots
    wait_until(lambda: not during & set(children()), "the local cluster's processes")


def ports_of(pid: int) -> set[int]:
    """List the TCP ports where a process listens."""
    inodes = set()
    for path in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            inodes.add(str(path.readlink()))
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    listening = [row for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes]
    return {int(row[1].rpartition(":")[2], 16) for row in listening}


def speaks_tls(port: int) -> bool:
    """Tell whether a server answers the first words of TLS in kind."""
    sent = ssl.MemoryBIO()
    hello = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), sent, server_hostname="any")
    with contextlib.suppress(ssl.SSLWantReadError):
        hello.do_handshake()
    with socket.create_connection(("127.0.0.1", port)) as channel:
        channel.sendall(sent.read())
        channel.shutdown(socket.SHUT_WR)  # one that does not understand stops waiting for more
        return channel.recv(2) == b"\x16\x03"


def children() -> list[int]:
    """List the worker processes below this one."""
    found = []
    for pid in members_of(os.getsid(0)):
        with contextlib.suppress(OSError):
            if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
    return found
