"""What is told of jobs on Ray, and which nodes they fit on: decisions without a cluster."""

from __future__ import annotations

import grpc
import pytest
import ray

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.engine import (
    Demands,
    EngineEvent,
    EngineFailed,
    Job,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
)
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.ray.connection import Endpoint
from ramp_engine.remote.ray.jobs import Jobs
from ramp_engine.remote.ray.places import Patience, count_slots, matches, ray_demands
from ramp_engine.remote.ray.session import RaySession

ANSWER = {"node": "a", "n_said": 3, "header": {"said": "ended"}, "payload": b"all"}


def told_of(name: str) -> tuple[Jobs, list[EngineEvent]]:
    events: list[EngineEvent] = []
    jobs = Jobs(events.append)
    assert jobs.add(Job(name, Frame({}), Demands()))
    return jobs, events


def test_messages_that_overtake_one_another_are_told_in_order_and_before_the_end() -> None:
    jobs, events = told_of("job")
    first, second = Frame({"said": "first"}), Frame({"said": "second"})
    jobs.heard("job", "a", 2, second)
    jobs.answered("job", ANSWER)
    assert events == []
    jobs.heard("job", "a", 0, None)
    jobs.heard("job", "a", 1, first)
    assert events == [
        JobSaid("job", "a", first),
        JobSaid("job", "a", second),
        JobEnded("job", "a", Frame({"said": "ended"}, b"all")),
    ]


def test_an_answer_is_told_though_the_last_words_before_it_never_come() -> None:
    jobs, events = told_of("job")
    jobs.answered("job", ANSWER)
    jobs.end_overdue(3600)
    assert events == []
    jobs.end_overdue(-1)
    assert events == [JobEnded("job", "a", Frame({"said": "ended"}, b"all"))]


def test_a_job_ends_once_and_nothing_is_told_after_the_cluster_is_lost() -> None:
    jobs, events = told_of("job")
    jobs.lost("job", Loss.NODE, "it died")
    jobs.lost("job", Loss.CLUSTER, "again")
    jobs.heard("job", "a", 0, Frame({}))
    assert events == [JobLost("job", Loss.NODE, "it died")]
    jobs.fail("the head died")
    jobs.fail("twice")
    assert not jobs.add(Job("other", Frame({}), Demands()))
    assert events[1:] == [EngineFailed("the head died")]


@pytest.mark.parametrize(
    ("label", "condition", "is_met"),
    [
        ("spot", "spot", True),
        ("spot", "!spot", False),
        (None, "spot", False),
        (None, "!spot", True),
        ("us-1", "in(us-1, us-2)", True),
        ("eu-1", "in(us-1, us-2)", False),
        ("eu-1", "!in(us-1,us-2)", True),
    ],
)
def test_conditions_on_labels_mean_what_they_mean_to_ray(
    label: str | None, condition: str, is_met: bool
) -> None:
    assert matches(label, condition) is is_met


def test_the_scarcest_resource_of_a_node_limits_its_slots() -> None:
    node = {"CPU": 8.0, "GPU": 2.0, "memory": 4096.0 * 2**20, "V100": 1.0}

    def slots(**demands: object) -> int:
        return count_slots(node, {}, ray_demands(Demands(**demands)))

    assert slots() == 8
    assert slots(cpus=0.1) == 80
    assert slots(cpus=0) == 8
    assert slots(gpus=0.5) == 4
    assert slots(memory_mb=1500) == 2
    assert slots(resources={"V100": 1}) == 1
    assert slots(resources={"TPU": 1}) == 0
    assert slots(labels={"market": "spot"}) == 0


def test_a_demand_is_given_up_only_when_no_node_has_met_it_all_the_time() -> None:
    demands = ray_demands(Demands(cpus=4, resources={"V100": 1}))
    small = {"name": "a", "host": "alpha", "total": {"CPU": 2.0}, "labels": {"zone": "b"}}
    large = {**small, "name": "b", "total": {"CPU": 4.0, "V100": 1.0}}
    patient = Patience(3600)
    assert patient.end_of([small], demands, None) is None
    hasty = Patience(0)
    assert hasty.end_of([small, large], demands, None) is None
    reason = hasty.end_of([small], demands, None)
    assert reason is not None
    assert "(cpus: 4, V100: 1)" in reason
    assert "alpha has cpus: 2, gpus: 0, memory: 0 MB, the label zone: b" in reason
    assert hasty.end_of([small, large], demands, "a") is not None


def test_what_grpc_raises_over_a_broken_connection_leaves_no_question_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def breaks(*_: object, **__: object) -> None:
        raise grpc.RpcError("the channel is closed")

    jobs, events = told_of("job")
    jobs.set_task("job", "its reference")
    session = RaySession(jobs, Endpoint("127.0.0.1", 1, is_client=True), "no.entry")
    monkeypatch.setattr(ray, "cancel", breaks)
    monkeypatch.setattr(ray.actor.ActorClass, "options", breaks)

    session.withdraw("job")
    answer = session.ask("a" * 56, Frame({"op": "renew"}))

    assert isinstance(answer.exception(timeout=5), WorkerLostError)
    assert events == []
