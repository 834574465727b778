"""Events whose folds run on a real Ray cluster of three nodes, and what dies under them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_database import queue
from ramp_database.states import State
from ramp_engine.testing import Scenario, ToyEvent
from tests.integration.dispatching import wait_for
from tests.integration.on_cluster import ClusterEvent, Gate, cluster_event
from tests.remote.cluster_workers import OURS, ray_workers
from tests.remote.node_room import wait_until
from tests.remote.ray_cluster import RayCluster

_NODES = {name: ["--num-cpus=1"] for name in ("first", "second", "third")}


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ramp_database.queue.returning.FIRST_DELAY_SECONDS", 0.1)
        with RayCluster(_NODES) as cluster:
            yield cluster


@pytest.fixture(scope="module")
def _served(cluster: RayCluster) -> Iterator[ClusterEvent]:
    worker = {
        "worker_type": "ray",
        "ray_address": cluster.address,
        "start_timeout": 60,
        "lease_seconds": 10,
        "memory": 1024,
    }
    attempts = {"max_attempts": 10}
    with cluster_event("iris", worker, dispatcher=attempts) as event, event.dispatching():
        yield event
    await_nothing_in(cluster)


@pytest.fixture
def served(_served: ClusterEvent) -> Iterator[ClusterEvent]:
    """An event with its dispatcher; after each test all promises hold."""
    yield _served
    _served.cancel_rest()
    _served.check()


def await_nothing_in(cluster: RayCluster) -> None:
    wait_until(lambda: cluster.processes_of(*OURS) == 0, "the end of all in Ray")


def nodes_of(cluster: RayCluster, gate: Gate) -> dict[int, str]:
    """Tell on which node each fold of a submission runs that has begun last."""
    return {one.fold: cluster.node_of(one.pids[0]) for one in gate.begun}


def test_a_node_that_dies_costs_a_fold_and_an_attempt(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    number, gate = served.submit_gated()
    gate.await_begun(2)
    nodes = nodes_of(cluster, gate)
    gate.open(0)
    assert wait_for(lambda: all(one.is_gone for one in gate.begun if one.fold == 0))
    cluster.kill(nodes[1])
    gate.await_gone()
    gate.open()
    assert served.await_scored(number) == ["crashed", "succeeded"]
    assert [one.fold for one in gate.begun][2:] == [1], "only the fold that was lost"
    assert "fold 0 is kept from attempt 1" in served.log(number)
    assert served.row(number).n_crashes == 1
    cluster.start(nodes[1])


def test_a_fold_goes_on_from_what_it_saved_or_begins_again_when_its_node_is_drained(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    number, gate = served.submit_gated(is_saving=True, deaf=(0,))
    gate.await_begun(2)
    nodes = nodes_of(cluster, gate)
    cluster.drain(cluster.id_of(nodes[1]), 300)
    *_, again = gate.await_begun(3)
    assert (again.fold, again.saved) == (1, (f"{gate.name} 1",))
    assert cluster.node_of(again.pids[0]) not in nodes.values()
    cluster.drain(cluster.id_of(nodes[0]), 2)
    gate.await_asked(0)
    cluster.kill(nodes[0])  # as clouds do when the time is over, whoever still runs there
    gate.open()
    assert served.await_scored(number) == ["succeeded"]
    assert (served.row(number).attempt, served.row(number).n_crashes) == (1, 0)
    saved = sorted((one.fold, bool(one.saved)) for one in gate.begun)
    assert saved == [(0, False), (0, False), (1, False), (1, True)]
    cluster.kill(nodes[1])
    cluster.start(*nodes.values())


#: Of a node that has no memory left from the beginning.
TIGHT = {"RAY_memory_usage_threshold": "0.001", "RAY_memory_monitor_refresh_ms": "100"}


def test_a_fold_that_ray_ends_for_the_memory_of_its_node_is_no_failure_of_its_submission(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    cluster.start("tight", **TIGHT)
    submitted = [served.submit_gated() for _ in range(2)]  # which fill all four nodes
    assert wait_for(lambda: sum(len(gate.begun) for _, gate in submitted) == 3)
    for _, gate in submitted:
        gate.open()
    numbers = [number for number, _ in submitted]
    assert wait_for(lambda: any(served.row(number).n_crashes for number in numbers))
    cluster.kill("tight")
    outcomes = [served.await_scored(number) for number in numbers]
    whole, again = sorted(outcomes, key=len)
    assert whole == ["succeeded"]
    assert (set(again[:-1]), again[-1]) == ({"crashed"}, "succeeded")
    unlucky = numbers[outcomes.index(again)]
    assert "OutOfMemoryError" in (served.attempts(unlucky)[0].error or "")


def test_a_cancel_ends_the_tree_and_frees_its_slots(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    number, gate = served.submit_gated()
    gate.await_begun(2)
    asked_at = time.monotonic()
    with served.database.session() as session:
        queue.cancel(session, number, "enough")
    gate.await_gone()
    seconds = time.monotonic() - asked_at
    print(f"the tree was gone {seconds:.2f} s after the request")
    assert seconds < 20
    assert served.await_end(number).state is State.CANCELED
    others = [served.submit_gated() for _ in range(2)]
    gates = [gate for _, gate in others]  # Ray begins the four folds in an order of its own
    assert wait_for(lambda: sum(len(gate.begun) for gate in gates) == 3), "not all cores are free"
    for gate in gates:
        gate.open()
    for number, _ in others:
        assert served.await_scored(number) == ["succeeded"]


OUT_OF_MEMORY = """
import numpy as np
from nearest import NearestMean

class Greedy(NearestMean):
    def fit(self, X, y):
        self.everything = np.ones(1 << 30)
        return super().fit(X, y)

def get_estimator():
    return Greedy()
"""


def test_the_memory_limit_of_a_fold_is_the_participants(served: ClusterEvent) -> None:
    number = served.submit(OUT_OF_MEMORY)
    found = served.await_end(number)
    assert (found.state, found.n_crashes) == (State.TRAINING_ERROR, 0)
    assert [one.outcome for one in served.attempts(number)] == ["out_of_memory"]


def test_a_demand_that_nothing_meets_is_told_with_what_there_is(cluster: RayCluster) -> None:
    worker = _worker(cluster, resources={"V100": 1}, start_timeout=2)
    with cluster_event("gpu", worker) as event, event.dispatching():
        number, _ = event.submit_gated()
        assert wait_for(lambda: event.row(number).n_crashes)
        message = event.attempts(number)[0].error or ""
        assert "V100: 1" in message
        assert "cpus: 1" in message
        with event.database.session() as session:
            queue.cancel(session, number, "enough")
        assert event.await_end(number).state in (State.CANCELED, State.CHECKING_ERROR)


def test_a_run_is_taken_over_when_its_dispatcher_is_killed_and_another_event_goes_on(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    with cluster_event("orphan", _worker(cluster)) as event:
        number, gate = event.submit_gated()
        with event.dispatcher_process() as first:
            gate.await_begun(2)
            ours, our_gate = served.submit_gated()
            our_gate.await_begun(1)
            assert cluster.processes_of("PostOffice") == 2
            first.kill()
            first.wait()
            with event.dispatching():
                assert wait_for(lambda: len(event.gateways()) == 2)
                for one in (gate, our_gate):
                    one.open()
                assert event.await_scored(number) == ["succeeded"]
                assert len(gate.begun) == 2, "nothing was started again"
                event.check()
                assert wait_for(lambda: len(event.gateways()) == 1)
        assert served.await_scored(ours) == ["succeeded"]
    wait_until(lambda: cluster.processes_of("PostOffice") == 1, "the end of the other's")


def _worker(cluster: RayCluster, **more: Any) -> dict[str, Any]:
    return {"worker_type": "ray", "ray_address": cluster.address, **more}


def test_a_client_from_elsewhere_runs_folds_on_the_nodes_of_its_choice(
    cluster: RayCluster, toy_event: ToyEvent
) -> None:
    more = {
        "runtime_env": {"env_vars": {"MARK": "theirs"}},
        "label_selector": {"name": "second"},
    }
    with (
        cluster.client_server() as address,
        ray_workers(cluster, toy_event, **(more | {"ray_address": address})) as workers,
    ):
        worker = workers.make(Scenario.HANGING)
        try:
            worker.setup()
            worker.launch_submission()
            assert wait_for(lambda: len(workers.nodes.runs()) == 1)
            nodes = workers.client.ask("nodes")["nodes"]
            n_slots = {node["facts"]["labels"]["name"]: node["n_slots"] for node in nodes}
            assert n_slots == {"head": 0, "first": 0, "second": 1, "third": 0}
            worker.cancel()
        finally:
            worker.teardown()
        assert workers.make(Scenario.GOOD).launch() == (0, "")


TELLING = """
import os, sys
from nearest import NearestMean

def get_estimator():
    print("folds have", sys.executable, "and", os.environ.get("MARK"), flush=True)
    return NearestMean()
"""


def test_folds_have_the_python_of_the_runtime_env_and_none_of_its_variables(
    cluster: RayCluster,
) -> None:
    worker = _worker(cluster, python=None, runtime_env={"env_vars": {"MARK": "theirs"}})
    with cluster_event("own", worker) as event, event.dispatching():
        number = event.submit(TELLING)
        assert event.await_scored(number) == ["succeeded"]
        assert f"folds have {sys.executable} and None" in event.log(number)
        event.check()


def test_a_head_that_dies_costs_nobody_an_attempt(
    cluster: RayCluster, served: ClusterEvent
) -> None:
    number, gate = served.submit_gated()
    gate.await_begun(2)
    (gateway,) = served.gateways()
    for name in ("head", *_NODES):
        cluster.kill(name)
    gate.await_gone()
    cluster.start_head()
    cluster.start("first", "second")  # two folds need no more, and this test is the last
    gate.open()
    assert served.await_scored(number)[-1] == "succeeded"
    assert served.row(number).n_crashes == 0
    (another,) = served.gateways()
    assert another != gateway


def test_the_right_token_evaluates_and_a_wrong_one_is_told(tmp_path: Path) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("1" * 64)
    wrong.write_text("0" * 64)
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(right)}
    of_all = {"head": variables, "only": variables}
    with RayCluster({"only": ["--num-cpus=1"]}, variables_of=of_all) as closed:
        with cluster_event("closed", _worker(closed, token_file=str(right))) as event:
            found = event.doctor()
            assert "a fold of the starting kit took" in found, found
        with cluster_event("closed", _worker(closed, token_file=str(wrong))) as event:
            assert "refuses the token" in event.doctor()
