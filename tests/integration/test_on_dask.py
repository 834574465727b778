"""Faults on a Dask cluster of three nodes, with a real dispatcher, gateway, agents and folds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client

from ramp_database import queue
from ramp_database.queue import returning
from ramp_database.states import State
from tests.integration.dispatching import Witness, wait_for
from tests.integration.on_dask import ENVIRONMENT, IRIS, DaskEvent, dask_event
from tests.remote.dask_cluster import DaskCluster
from tests.remote.node_room import is_alive

GOOD = (IRIS.parents[1] / "tests/kits/light_iris/submissions/sepals/estimator.py").read_text()
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
    with DaskCluster(n_nodes=3, environment=ENVIRONMENT) as found:
        yield found


@pytest.fixture(scope="module")
def deployed(cluster: DaskCluster) -> Iterator[DaskEvent]:
    with dask_event(cluster, worker={"limits": {"memory_mb": 1024}, "lease_seconds": 6}) as event:
        yield event


@pytest.fixture(scope="module")
def witness(deployed: DaskEvent) -> Iterator[Witness]:
    """Give the dispatcher of all tests here that do not end theirs."""
    with deployed.dispatching() as witness:
        yield witness


@pytest.fixture
def event(deployed: DaskEvent, witness: Witness) -> Iterator[DaskEvent]:
    yield deployed
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
    cluster: DaskCluster, event: DaskEvent
) -> None:
    number, gate = event.submit_gated()
    first, second = sorted(gate.await_begun(2), key=lambda one: one.fold)
    lost = event.room.node_of(second.where)
    assert lost != event.room.node_of(first.where)
    cluster.kill(lost)
    assert wait_for(lambda: second.is_gone), "the node's agent lives on, the fold does not"
    gate.open(0)
    again = gate.await_begun(3)[2]
    assert (again.fold, event.row(number).n_crashes) == (1, 1)
    assert event.room.node_of(again.where) != lost
    gate.open()
    assert event.await_scored(number) == ["crashed", "succeeded"]
    assert lost in (event.attempts(number)[0].error or "")
    assert len(gate.begun) == 3
    gate.await_gone()
    bring_back(cluster, lost)


@pytest.mark.parametrize("how", ["retired", "terminated"])
def test_a_node_that_is_taken_away_costs_nothing(
    cluster: DaskCluster, event: DaskEvent, how: str
) -> None:
    number, gate = event.submit_gated()
    taken = gate.await_begun(2)[0]
    name = event.room.node_of(taken.where)
    if how == "retired":
        with Client(cluster.address, set_as_default=False) as client:
            client.retire_workers([one for one in client.ncores() if f"/{name}:" in one])
    else:
        cluster.terminate(name)
    again = gate.await_begun(3)[2]
    assert again.fold == taken.fold
    assert event.room.node_of(again.where) != name
    assert taken.is_gone
    gate.open()
    assert event.await_scored(number) == ["succeeded"]
    assert event.row(number).n_crashes == 0
    gate.await_gone()
    bring_back(cluster, name)


# The scheduler


def test_a_scheduler_that_dies_and_comes_back_costs_no_attempt_and_no_dispatcher(
    cluster: DaskCluster, event: DaskEvent, witness: Witness
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


def test_a_fold_that_takes_too_much_memory_is_the_participants_failure(event: DaskEvent) -> None:
    number = event.submit(GREEDY)
    found = event.await_end(number)
    assert found.state is State.TRAINING_ERROR
    assert [one.outcome for one in event.attempts(number)] == ["out_of_memory"]


def test_a_canceled_submission_is_gone_at_once_and_its_slots_are_free(event: DaskEvent) -> None:
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


_ = (os, signal, Any)
