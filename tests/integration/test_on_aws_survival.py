"""Dispatchers of an event on EC2 that die, stop, or run out of money: nothing is lost or left."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_database.states import FINAL, State
from ramp_engine.daemon import Daemon
from ramp_engine.testing import ManualClock
from ramp_engine.testing.ssh_server import requires_sshd
from tests.aws.barrier import Barrier
from tests.aws.farm import Farm, farm
from tests.aws.fault_proxy import Answer, Params, Rule, Times
from tests.integration.dispatching import wait_for
from tests.integration.on_aws import AwsEvent, aws_event
from tests.integration.on_cluster import Gate

__all__ = ["farm"]

pytestmark = requires_sshd

IsReached = Callable[[], bool]
#: Has a dispatcher stand still at a step inside the block; tells whether it does.
Hold = Callable[["Scene"], AbstractContextManager[IsReached]]


class Scene:
    """An event, the machines of its instances, and where commands on them are held."""

    def __init__(self, event: AwsEvent, barrier: Barrier) -> None:
        self.event, self.barrier = event, barrier
        self.farm, self.cloud = event.farm, event.cloud


@pytest.fixture(scope="module")
def scene(farm: Farm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    barrier = Barrier(tmp_path_factory.mktemp("barrier") / "b")
    farm.extra_config = barrier.config
    with aws_event(farm, "mortal") as event:
        yield Scene(event, barrier)
    farm.extra_config = ""


# The steps


@contextmanager
def before_the_launch(scene: Scene) -> Iterator[IsReached]:
    n_calls = scene.cloud.calls["ec2:RunInstances"]
    with scene.cloud.hanging("RunInstances"):
        yield lambda: scene.cloud.calls["ec2:RunInstances"] > n_calls


@contextmanager
def before_the_answer(scene: Scene) -> Iterator[IsReached]:
    launched, released = threading.Event(), threading.Event()

    def hold(_params: Params, answer: Answer) -> Answer:
        launched.set()
        released.wait()
        return answer

    rule = scene.cloud.proxy.add(Rule("RunInstances", Times(1), after=hold))
    try:
        yield launched.is_set
    finally:
        released.set()
        scene.cloud.proxy.remove(rule)


@contextmanager
def while_it_starts(scene: Scene) -> Iterator[IsReached]:
    scene.cloud.start_slowly(n_pending=1_000_000)
    n_calls = scene.cloud.calls["ec2:DescribeInstances"]
    try:
        yield (
            lambda: (
                bool(scene.event.instances())
                and scene.cloud.calls["ec2:DescribeInstances"] > n_calls + 1
            )
        )
    finally:
        scene.cloud.start_slowly()


@contextmanager
def while_connecting(scene: Scene) -> Iterator[IsReached]:
    scene.farm.is_starting = False
    n_calls = scene.cloud.calls["ec2:GetConsoleOutput"]
    try:
        yield lambda: scene.cloud.calls["ec2:GetConsoleOutput"] > n_calls
    finally:
        scene.farm.is_starting = True


def command(what: str, when: str = "before") -> Hold:
    @contextmanager
    def hold(scene: Scene) -> Iterator[IsReached]:
        scene.barrier.close(what, when)
        try:
            yield lambda: scene.barrier.is_reached
        finally:
            scene.barrier.open()

    return hold


#: In the order of a life, and whether there is a run then that the next dispatcher takes over.
STEPS: dict[str, tuple[Hold, bool]] = {
    "before the launch": (before_the_launch, False),
    "before the answer of the launch": (before_the_answer, False),
    "while the instance starts": (while_it_starts, False),
    "while connecting": (while_connecting, False),
    "while the program is sent": (command("sftp"), False),
    "before the bundle is sent": (command("hello"), False),
    "before the start": (command("start"), False),
    "after the start": (command("start", "after"), True),
    "while collecting": (command("pack"), True),
    "before the wipe": (command("wipe"), True),
}


@pytest.mark.parametrize("step", list(STEPS))
def test_a_submission_is_scored_and_no_instance_is_left_wherever_its_dispatcher_is_killed(
    scene: Scene, step: str
) -> None:
    event = scene.event
    hold, is_adopted = STEPS[step]
    number, gate = event.submit_gated()
    gate.open()
    with hold(scene) as is_reached, event.hasty_dispatcher() as victim:
        assert wait_for(lambda: is_reached() or event.row(number).state in FINAL)
        assert is_reached()
        kill(victim)
    left = event.instances()
    assert len(left) == (step != "before the launch")
    with event.dispatching():
        outcomes = event.await_scored(number)
        event.await_instances(0)
        event.check()
    assert len(gate.begun) == 2, "each fold ran once"
    assert outcomes == (["succeeded"] if is_adopted else ["crashed", "succeeded"])


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def test_folds_that_run_go_on_under_the_next_dispatcher_and_nobody_reaps_them(
    scene: Scene,
) -> None:
    event = scene.event
    number, gate = event.submit_gated()
    die_over(event, gate)
    before = event.instances()
    assert list(before.values()) == [f"{number}-1"]
    event.ramp(*reap(event))
    assert event.instances() == before
    with event.dispatching() as witness:
        assert witness.sees(lambda w: w.started == [number])
        gate.open()
        assert event.await_scored(number) == ["succeeded"]
        assert len(gate.begun) == 2
        event.await_instances(0)
        event.check()


def test_a_dispatcher_that_is_told_to_stop_ends_its_runs_and_instances(scene: Scene) -> None:
    event = scene.event
    number, gate = event.submit_gated()
    with event.hasty_dispatcher() as process:
        gate.await_begun(1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(240) == 0
    assert event.instances() == {}
    gate.await_gone()
    row = event.row(number)
    assert (row.state, row.n_crashes) == (State.NEW, 0)
    event.cancel(number)
    event.check()


def test_what_nobody_takes_over_any_more_is_ended_by_the_daemon_or_by_hand(farm: Farm) -> None:
    with aws_event(farm, "left", adopt_within_seconds=1) as event:
        number, gate = event.submit_gated()
        die_over(event, gate)
        (instance,) = event.instances()
        would = f"{instance} would be terminated"
        assert wait_for(lambda: would in event.ramp(*reap(event), "--dry-run"))
        assert list(event.instances()) == [instance]
        let_the_daemon_reap(event)
        gate.await_gone()
        die_over(event, gate)
        (instance,) = event.instances()
        done = f"{instance} terminated (submission {number}-2"
        assert wait_for(lambda: done in event.ramp(*reap(event)))
        assert event.instances() == {}
        gate.await_gone()
        gate.open()
        with event.dispatching():
            assert event.await_scored(number)[-1] == "succeeded"
            event.await_instances(0)
            event.check()


def die_over(event: AwsEvent, gate: Gate) -> None:
    """Kill a dispatcher as soon as a further fold has begun under it."""
    n_begun = len(gate.begun)
    with event.hasty_dispatcher() as victim:
        gate.await_begun(n_begun + 1)
        kill(victim)


def reap(event: AwsEvent) -> tuple[str, ...]:
    return ("aws", "reap", "--event-config", str(event.path))


def let_the_daemon_reap(event: AwsEvent) -> None:
    """Have a daemon that cannot start a dispatcher turn until no instance is left."""

    def start(*_: object) -> Any:
        raise OSError("no process is to be had")

    clock = ManualClock()
    daemon = Daemon(event.database, event.path.parent.parent, None, clock, start)

    def is_reaped() -> bool:
        daemon.turn()
        clock.advance(30)
        return not event.instances()

    assert wait_for(is_reaped)


def test_at_the_cap_of_the_day_submissions_wait_say_why_and_go_on_when_it_is_raised(
    farm: Farm,
) -> None:
    with aws_event(farm, "poor", max_instance_hours=0.0001) as event:
        first, gate = event.submit_gated()
        gate.open()
        with event.dispatching() as witness:
            assert event.await_scored(first) == ["succeeded"]
            second, gate = event.submit_gated()
            gate.open()
            assert witness.sees(lambda w: second in w.ended)
            told = event.ramp("explain", str(second))
            assert "0.0001 instance-hours of today are used up" in told
            told = event.ramp("status", "--event", "poor")
            assert "0.0001 instance-hours of today are used up" in told
            row = event.row(second)
            assert (row.state, row.n_crashes) == (State.NEW, 0)
        event.configure(max_instance_hours=10)
        with event.dispatching():
            assert event.await_scored(second)[-1] == "succeeded"
            event.await_instances(0)
            event.check()
        assert event.row(second).n_crashes == 0
        assert Path(event.event.ramp.logs_dir, "aws-usage.jsonl").exists()
