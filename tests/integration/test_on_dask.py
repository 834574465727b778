"""Faults on a Dask cluster of three nodes, with a real dispatcher, gateway, agents and folds."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

import ramp_engine
from ramp_database import queue
from ramp_database.queue import returning
from ramp_database.states import State
from tests.integration.dispatching import Witness, wait_for
from tests.integration.on_cluster import IRIS, ClusterEvent, cluster_event
from tests.remote.dask_cluster import Certificates, DaskCluster
from tests.remote.node_dirs import node_of
from tests.remote.node_room import is_alive
from tests.remote.two_hosts import two_hosts

GOOD = (IRIS.parents[1] / "tests/kits/light_iris/submissions/sepals/estimator.py").read_text()
_MOUNT, _UMOUNT = shutil.which("mount"), shutil.which("umount")
GREEDY = """
from nearest import NearestMean

class Greedy(NearestMean):
    def fit(self, X, y):
        held = [bytearray(b"x" * (64 << 20)) for _ in range(64)]
        return super().fit(X, y)

def get_estimator():
    return Greedy()
"""


@pytest.fixture(scope="module", autouse=True)
def _soon() -> Iterator[None]:
    """Have a second attempt begin soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(returning, "FIRST_DELAY_SECONDS", 0.1)
        yield


@pytest.fixture(scope="module")
def cluster() -> Iterator[DaskCluster]:
    """Give three nodes of one slot; each test leaves all three there."""
    with DaskCluster(n_nodes=3) as found:
        yield found


@contextmanager
def dask_event(cluster: DaskCluster, **worker: Any) -> Iterator[ClusterEvent]:
    keys = {"worker_type": "dask", "dask_scheduler": cluster.address}
    with cluster_event("iris", keys | worker) as event:
        yield event


@pytest.fixture(scope="module")
def deployed(cluster: DaskCluster) -> Iterator[ClusterEvent]:
    with dask_event(cluster, limits={"memory_mb": 1024}, lease_seconds=6) as event:
        yield event


@pytest.fixture(scope="module")
def witness(deployed: ClusterEvent) -> Iterator[Witness]:
    """Give the dispatcher of all tests here that do not end theirs."""
    with deployed.dispatching() as witness:
        yield witness


@pytest.fixture
def event(deployed: ClusterEvent, witness: Witness) -> Iterator[ClusterEvent]:
    yield deployed
    deployed.cancel_rest()
    deployed.check()


def bring_back(cluster: DaskCluster, *names: str) -> None:
    for name in names:
        cluster.kill(name)
        cluster.log(name).unlink()
        cluster.start_node(name)
    for name in names:
        cluster.wait_for_node(name)


# Nodes


def test_a_killed_node_costs_one_fold_which_the_next_attempt_runs_elsewhere(
    cluster: DaskCluster, event: ClusterEvent
) -> None:
    number, gate = event.submit_gated()
    first, second = sorted(gate.await_begun(2), key=lambda one: one.fold)
    lost = node_of(second.where, cluster.names)
    assert lost != node_of(first.where, cluster.names)
    cluster.kill(lost)
    assert wait_for(lambda: second.is_gone), "the node's agent lives on, the fold does not"
    gate.open(0)
    again = gate.await_begun(3)[2]
    assert (again.fold, event.row(number).n_crashes) == (1, 1)
    assert node_of(again.where, cluster.names) != lost
    gate.open()
    assert event.await_scored(number) == ["crashed", "succeeded"]
    assert lost in (event.attempts(number)[0].error or "")
    assert len(gate.begun) == 3
    gate.await_gone()
    bring_back(cluster, lost)


@pytest.mark.parametrize("how", ["retired", "terminated"])
def test_a_node_that_is_taken_away_costs_nothing(
    cluster: DaskCluster, event: ClusterEvent, how: str
) -> None:
    number, gate = event.submit_gated()
    taken = gate.await_begun(2)[0]
    name = node_of(taken.where, cluster.names)
    if how == "retired":
        with Client(cluster.address, set_as_default=False) as client:
            client.retire_workers([one for one in client.ncores() if f"/{name}:" in one])
    else:
        cluster.terminate(name)
    again = gate.await_begun(3)[2]
    assert (again.fold, again.saved) == (taken.fold, ())
    assert node_of(again.where, cluster.names) != name
    assert taken.is_gone
    gate.open()
    assert event.await_scored(number) == ["succeeded"]
    assert event.row(number).n_crashes == 0
    gate.await_gone()
    bring_back(cluster, name)


def test_a_worker_that_its_nanny_ends_for_its_memory_is_no_failure_of_a_submission(
    cluster: DaskCluster, event: ClusterEvent
) -> None:
    small = cluster.names[2]
    cluster.kill(small)
    cluster.log(small).unlink()
    cluster.start_node(small, "--memory-limit=400MiB")
    cluster.wait_for_node(small)
    submitted = [event.submit_gated() for _ in range(2)]  # which fill all three nodes
    assert wait_for(lambda: sum(len(gate.begun) for _, gate in submitted) == 3)
    ((number, lost),) = [
        (number, one)
        for number, gate in submitted
        for one in gate.begun
        if node_of(one.where, cluster.names) == small
    ]
    with Client(cluster.address, set_as_default=False) as client:
        workers = [address for address in client.ncores() if f"/{small}:" in address]
        client.run(_swell, workers=workers, wait=False)
        assert wait_for(lambda: lost.is_gone)
    for _, gate in submitted:
        gate.open()
    outcomes = {number: event.await_scored(number) for number, _ in submitted}
    assert outcomes.pop(number) == ["crashed", "succeeded"]
    assert list(outcomes.values()) == [["succeeded"]], "the other one"
    assert "nanny: out of memory" in (event.attempts(number)[0].error or "")
    bring_back(cluster, small)


async def _swell() -> None:
    """Take more memory than a small worker may have, until somebody minds."""
    held = [b"x" * (32 << 20) for _ in range(32)]
    await asyncio.Event().wait()
    held.clear()


# The scheduler


def test_a_scheduler_that_dies_and_comes_back_costs_no_attempt_and_no_dispatcher(
    cluster: DaskCluster, event: ClusterEvent, witness: Witness
) -> None:
    number, gate = event.submit_gated()
    gate.await_begun(2)
    [gateway] = event.gateways()
    gate.open(0)
    done = event.event.ramp.work_dir / "attempts"
    assert wait_for(lambda: list(done.rglob("fold_0/state.txt")))
    cluster.kill_scheduler()
    assert wait_for(lambda: event.row(number).state is State.NEW)
    gate.await_gone()
    gate.open()
    cluster.start_scheduler()
    bring_back(cluster, *cluster.names)
    outcomes = event.await_scored(number)
    assert set(outcomes[:-1]) == {"interrupted"}
    assert outcomes[-1] == "succeeded"
    assert event.row(number).n_crashes == 0
    [other] = event.gateways()
    assert other != gateway
    assert not is_alive(gateway)
    assert sorted(one.fold for one in gate.begun) == [0, 1, 1], "the fold that was done is kept"


# Submissions


def test_a_fold_that_takes_too_much_memory_is_the_participants_failure(event: ClusterEvent) -> None:
    number = event.submit(GREEDY)
    found = event.await_end(number)
    assert found.state is State.TRAINING_ERROR
    assert [one.outcome for one in event.attempts(number)] == ["out_of_memory"]


def test_a_canceled_submission_is_gone_at_once_and_its_slots_are_free(event: ClusterEvent) -> None:
    number, gate = event.submit_gated()
    begun = gate.await_begun(2)
    asked_at = time.monotonic()
    with event.database.session() as session:
        queue.cancel(session, number, "enough")
    assert wait_for(lambda: all(one.is_gone for one in begun))
    seconds = time.monotonic() - asked_at
    print(f"canceled and gone after {seconds:.2f} s")
    assert seconds < 10
    assert event.await_end(number).state is State.CANCELED
    others = [event.submit(GOOD) for _ in range(2)]
    assert [event.await_scored(other) for other in others] == [["succeeded"]] * 2


# The dispatcher


def test_what_nobody_takes_over_ends_with_its_gateway(cluster: DaskCluster) -> None:
    with dask_event(cluster, adopt_within_seconds=1.0, lease_seconds=60) as event:
        with event.dispatcher_process() as process:
            number, gate = event.submit_gated()
            gate.await_begun(2)
            process.send_signal(signal.SIGKILL)
            process.wait()
        gate.await_gone()
        assert wait_for(lambda: not event.gateways())
        event.nodes.await_no_agents()
        gate.open()
        with event.dispatching():
            assert event.await_scored(number) == ["crashed", "succeeded"]
        event.check()


# Disk, network, versions, certificates


def test_a_full_disk_of_a_node_costs_no_attempt(cluster: DaskCluster) -> None:
    with dask_event(cluster) as event, small_disk(event.nodes.path) as disk:
        with event.dispatching() as witness:
            assert event.await_scored(event.submit(GOOD)) == ["succeeded"]
            fill(disk)
            number = event.submit(GOOD)
            assert witness.sees(lambda w: number in w.started)
            logs = event.event.ramp.work_dir / "attempts"
            assert wait_for(lambda: "the disk of the node is full" in text_of(logs)), text_of(logs)
            told = text_of(logs)
            (disk / "ballast").unlink()
            assert event.await_scored(number) == ["succeeded"]
        assert any(f"node {name}" in told for name in cluster.names), told
        assert event.row(number).n_crashes == 0
        event.check()


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    if os.geteuid() != 0 or _MOUNT is None or _UMOUNT is None:
        pytest.skip("a disk of its own needs root, and the programs mount and umount")
    place.mkdir()
    mount = [_MOUNT, "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    try:
        yield place
    finally:
        subprocess.run([_UMOUNT, "-l", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leave no byte."""
    with (disk / "ballast").open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def text_of(folder: Path) -> str:
    found = ""
    for log in folder.glob("*/scratch-*/log"):
        with suppress(OSError):
            found += log.read_text(errors="replace")
    return found


def test_a_node_whose_network_is_cut_ends_its_fold_which_runs_elsewhere() -> None:
    notices = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}  # the least that Dask takes
    with (
        two_hosts() as hosts,
        DaskCluster(environment=notices, hosts=hosts) as cluster,
        dask_event(cluster, lease_seconds=4) as event,
        event.dispatcher_process(*hosts[0].command()),
    ):
        number, gate = event.submit_gated()
        begun = gate.await_begun(2)
        [lost] = [one for one in begun if node_of(one.where, cluster.names) == hosts[1].address]
        hosts[1].cut()
        cut_at = time.monotonic()
        assert wait_for(lambda: lost.is_gone)
        print(f"the fold of the cut node ended after {time.monotonic() - cut_at:.1f} s")
        gate.open()
        assert event.await_scored(number)[-1] == "succeeded"
        assert event.row(number).n_crashes <= 1
        again = [one for one in gate.begun if one.fold == lost.fold][-1]
        assert node_of(again.where, cluster.names) == hosts[0].address
        event.check()


def test_only_a_dispatcher_with_certificates_is_let_in(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path / "tls")
    with (
        DaskCluster(1, certificates=certificates) as cluster,
        dask_event(cluster, dask_security=certificates.section) as event,
    ):
        with event.dispatching():
            assert event.await_scored(event.submit(GOOD)) == ["succeeded"]
        doctor = event.doctor()
        assert "node 127.0.0.2" in doctor, doctor
        assert "a fold of the starting kit took" in doctor, doctor
        event.configure(dask_security=None)
        doctor = event.doctor()
        assert "Set dask_security" in doctor, doctor
        assert "Traceback" not in doctor
        number = event.submit(GOOD)
        with event.dispatcher_process():
            assert wait_for(lambda: "Set dask_security" in event.dispatcher_log.read_text())
        assert event.row(number).n_crashes == 0


def test_a_node_with_another_ramp_is_told_in_one_message(cluster: DaskCluster) -> None:
    with dask_event(cluster) as event:
        python = other_ramp(event.folder / "other")
        cluster.kill("127.0.0.4")
        cluster.log("127.0.0.4").unlink()
        old = f"{event.folder / 'other' / 'old'}:{Path(ramp_engine.__path__[0]).parent}"
        cluster.start_node("127.0.0.4", python=python, environment={"PYTHONPATH": old})
        cluster.wait_for_node("127.0.0.4")
        try:
            doctor = event.doctor()
        finally:
            bring_back(cluster, "127.0.0.4")
        said = " ".join(doctor.split())
        assert f"ramp is 0.0.1 there and {ramp_engine.__version__} here" in said, said
        assert "node 127.0.0.4" in said
        event.nodes.await_no_agents()


def other_ramp(folder: Path) -> Path:
    """Make an interpreter that has an older ramp, and else what this one has."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    place = Path(ramp_engine.__path__[0])
    shutil.copytree(place, folder / "old" / "ramp_engine")
    init = folder / "old" / "ramp_engine" / "__init__.py"
    init.write_text(init.read_text() + "\n__version__ = '0.0.1'\n")
    [packages] = folder.glob("lib/python*/site-packages")
    paths = [folder / "old", place.parent, sysconfig.get_path("purelib")]
    (packages / "paths.pth").write_text("\n".join(map(str, paths)))
    return folder / "bin" / "python"
