"""Instances of a dispatcher: launched, awaited, reused, ended."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws import AWSWorker, departures
from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.instances import Instance, Owner
from ramp_engine.aws.refusals import AnswerLostError
from ramp_engine.aws.shared import Shared
from ramp_engine.errors import ResourceUnavailableError, WorkerLostError, WorkerSetupError
from tests.aws.cloud import Cloud

OWNER = Owner("d41d8", "iris", dispatcher=3, submission=17, attempt=2)
NEXT = Owner("d41d8", "iris", dispatcher=3, submission=18, attempt=1)

MakeFleet = Callable[..., Fleet]


class Purse:
    """A budget that writes down what it is told."""

    def __init__(self, refused: frozenset[str] = frozenset()) -> None:
        self.refused = refused
        self.running: set[str] = set()
        self.counted: list[tuple[str, bool]] = []

    def allow(self, kind: str, is_spot: bool) -> None:
        if kind in self.refused:
            raise ResourceUnavailableError("the event's 40 instance-hours of today are used up")

    def launched(self, instance: Instance) -> None:
        self.counted.append((instance.kind, instance.is_spot))
        self.running.add(instance.id)

    def ended(self, instance_id: str) -> None:
        self.running.discard(instance_id)


@pytest.fixture
def make_fleet(cloud: Cloud, tmp_path: Path) -> Iterator[MakeFleet]:
    with ExitStack() as stack:

        def make(budget: Purse | None = None, **keys: Any) -> Fleet:
            config = cloud.keys(tmp_path / "key.pem") | {
                "deployment": "d41d8",
                "event": "iris",
                "n_workers": 2,
                "time_between_collection": 0.05,
            }
            return stack.enter_context(Fleet(config | keys, budget))

        yield make


def wait_until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < give_up_at
        threading.Event().wait(0.02)


def test_an_instance_is_launched_once_it_is_seen_to_run_and_says_whose_it_is(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    cloud.start_slowly(n_hidden=2, n_pending=2)
    purse = Purse()
    fleet = make_fleet(purse)
    instance = fleet.obtain(OWNER)
    assert cloud.calls["ec2:DescribeInstances"] >= 5
    assert instance.address.startswith("127.0.77.")
    assert fleet.look(instance.id) == "running"
    assert cloud.tags(instance.id) == {
        "ramp:deployment": "d41d8",
        "ramp:event": "iris",
        "ramp:dispatcher": "3",
        "ramp:submission": "17-2",
        "Name": "ramp iris 17-2",
    }
    assert purse.running == {instance.id}
    fleet.give_back(instance, is_clean=False)
    wait_until(lambda: not cloud.ids())
    wait_until(lambda: not purse.running)


def test_what_is_launched_shuts_itself_down_and_hides_its_metadata(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    instance = make_fleet(max_lifetime_hours=3).obtain(OWNER)
    [asked] = cloud.asked("RunInstances")
    assert asked["InstanceInitiatedShutdownBehavior"] == "terminate"
    assert asked["MetadataOptions.HttpTokens"] == "required"
    assert asked["MetadataOptions.HttpPutResponseHopLimit"] == "1"
    assert "InstanceMarketOptions.MarketType" not in asked
    script = cloud.direct.describe_instance_attribute(InstanceId=instance.id, Attribute="userData")[
        "UserData"
    ]["Value"]
    assert b"shutdown -h +180 " in base64.b64decode(script)
    tagged = {value for key, value in asked.items() if key.endswith("ResourceType")}
    assert tagged == {"instance", "volume"}


def test_a_clean_instance_serves_the_next_submission_under_its_name(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet()
    first = fleet.obtain(OWNER)
    first.host_key = "ssh-ed25519 AAAA"
    fleet.give_back(first, is_clean=True)
    again = fleet.obtain(NEXT)
    assert again is first
    assert again.host_key == "ssh-ed25519 AAAA"
    assert cloud.tags(again.id)["ramp:submission"] == "18-1"
    assert cloud.calls["ec2:RunInstances"] == 1


def test_folds_depend_on_the_image_and_on_nothing_known_while_aws_is_away(
    cloud: Cloud, make_fleet: MakeFleet, tmp_path: Path
) -> None:
    shared = Shared(make_fleet(), tmp_path)
    with cloud.away():
        assert AWSWorker.fold_environment({}, shared) == ""
    assert AWSWorker.fold_environment({}, shared) == cloud.image_id
    assert AWSWorker.fold_environment({}, None) == ""


def test_an_instance_of_an_image_that_was_replaced_serves_nobody_more(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    old = cloud.add_image("challenge")
    fleet = make_fleet(ami_image_name="challenge")
    first = fleet.obtain(OWNER)
    cloud.direct.deregister_image(ImageId=old)
    new = cloud.add_image("challenge")
    with pytest.raises(WorkerSetupError):
        fleet.obtain(NEXT)
    fleet.give_back(first, is_clean=True)
    second = fleet.obtain(NEXT)
    assert second.id != first.id
    [launched] = [one for one in cloud.instances() if one["InstanceId"] == second.id]
    assert launched["ImageId"] == new
    wait_until(lambda: cloud.ids() == {second.id})


def test_an_instance_waits_no_longer_than_idle_minutes(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(idle_minutes=0.001)
    fleet.give_back(fleet.obtain(OWNER), is_clean=True)
    wait_until(lambda: not cloud.ids())


def test_an_instance_that_will_shut_itself_down_soon_does_not_wait(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(max_lifetime_hours=0.0001)
    fleet.give_back(fleet.obtain(OWNER), is_clean=True)
    wait_until(lambda: not cloud.ids())


def test_a_waiting_instance_that_dies_is_not_given_out(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    first = fleet.obtain(OWNER)
    fleet.give_back(first, is_clean=True)
    cloud.terminate(first.id)
    wait_until(lambda: fleet.look(first.id) == "terminated")
    second = fleet.obtain(NEXT)
    assert second.id != first.id
    fleet.give_back(second, is_clean=True)
    cloud.refuse("CreateTags", "InvalidInstanceID.NotFound", times=1)  # the snapshot is behind
    assert fleet.obtain(NEXT).id not in (first.id, second.id)
    wait_until(lambda: len(cloud.ids()) == 1)


def test_there_are_never_more_instances_than_n_workers(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    fleet.obtain(OWNER)
    fleet.obtain(NEXT)
    with pytest.raises(ResourceUnavailableError, match="all 2 instances that n_workers allows"):
        fleet.obtain(NEXT)
    assert len(cloud.ids()) == 2


def test_nothing_is_asked_while_there_is_no_instance(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    fleet.give_back(fleet.obtain(OWNER), is_clean=False)
    wait_until(lambda: not fleet._is_needed())
    n_calls = cloud.calls["ec2:DescribeInstances"]
    threading.Event().wait(0.5)  # ten turns
    assert cloud.calls["ec2:DescribeInstances"] <= n_calls + 1


def test_one_call_a_turn_describes_all_instances(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet(n_workers=8, time_between_collection=0.3)
    threads = [threading.Thread(target=fleet.obtain, args=(OWNER,)) for _ in range(8)]
    begun_at = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    n_turns = (time.monotonic() - begun_at) / 0.3
    assert len(cloud.ids()) == 8
    assert cloud.calls["ec2:DescribeInstances"] <= n_turns + 2


def test_the_types_are_tried_in_their_order(cloud: Cloud, make_fleet: MakeFleet) -> None:
    cloud.refuse(
        "RunInstances",
        "InsufficientInstanceCapacity",
        when=lambda params: params["InstanceType"] != "c5.large",
    )
    types = ["t3.large", "m5.large", "c5.large", "c5.xlarge"]
    assert make_fleet(instance_type=types).obtain(OWNER).kind == "c5.large"
    assert [asked["InstanceType"] for asked in cloud.asked("RunInstances")] == types[:3]


def test_without_room_the_reason_names_every_type(cloud: Cloud, make_fleet: MakeFleet) -> None:
    cloud.refuse("RunInstances", "InsufficientInstanceCapacity", "no t3", times=1)
    cloud.refuse(
        "RunInstances",
        "VcpuLimitExceeded",
        "You have requested more vCPU capacity than your current vCPU limit of 32 allows.",
        when=lambda params: params["InstanceType"] == "p3.2xlarge",
    )
    with pytest.raises(ResourceUnavailableError) as caught:
        make_fleet(instance_type=["t3.large", "p3.2xlarge"]).obtain(OWNER)
    text = str(caught.value)
    assert "AWS has no room for t3.large: no t3" in text
    assert "quota of vCPUs for p3.2xlarge is used up" in text
    assert "limit of 32" in text
    assert cloud.ids() == set()


def test_a_spot_instance_is_one_time_and_its_request_is_tagged(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    purse = Purse()
    instance = make_fleet(purse, use_spot_instance=True).obtain(OWNER)
    [asked] = cloud.asked("RunInstances")
    assert asked["InstanceMarketOptions.MarketType"] == "spot"
    assert asked["InstanceMarketOptions.SpotOptions.SpotInstanceType"] == "one-time"
    tagged = {value for key, value in asked.items() if key.endswith("ResourceType")}
    assert "spot-instances-request" in tagged
    assert instance.is_spot
    assert purse.counted == [("t3.large", True)]


def test_an_instance_is_bought_on_demand_when_the_spot_market_has_none(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    cloud.refuse(
        "RunInstances",
        "MaxSpotInstanceCountExceeded",
        when=lambda params: "InstanceMarketOptions.MarketType" in params,
    )
    with pytest.raises(ResourceUnavailableError, match="limit of spot instances is reached"):
        make_fleet(use_spot_instance=True).obtain(OWNER)
    allowed = make_fleet(use_spot_instance=True, on_demand_fallback=True, spot_timeout=0.5)
    assert not allowed.obtain(OWNER).is_spot
    assert len(cloud.asked("RunInstances")) >= 3
    tokens = [asked["ClientToken"] for asked in cloud.asked("RunInstances")]
    assert len(set(tokens)) == len(tokens)


def test_an_instance_whose_launch_was_not_answered_is_found_and_ended(
    cloud: Cloud, make_fleet: MakeFleet, tmp_path: Path
) -> None:
    fleet = make_fleet()
    cloud.start_slowly(n_hidden=3)
    cloud.lose_answers("RunInstances", times=1)
    with pytest.raises(ResourceUnavailableError, match="did not answer"):
        fleet.obtain(OWNER)
    assert len(cloud.instances(["running", "terminated"])) == 1
    wait_until(lambda: not cloud.ids())
    other = make_fleet(n_workers=3)
    kept = other.obtain(NEXT)
    wait_until(lambda: fleet.look(kept.id) == "running")  # it sees what is not its own
    assert cloud.ids() == {kept.id}


def test_a_launch_that_is_throttled_may_have_been_made_by_an_earlier_try(
    cloud: Cloud, make_fleet: MakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fleet = make_fleet()
    cloud.refuse("RunInstances", "RequestLimitExceeded", times=1)
    with pytest.raises(AnswerLostError, match="throttles"):  # which has it looked for
        fleet.obtain(OWNER)


def test_asked_again_after_a_lost_answer_aws_launches_nothing_twice(
    cloud: Cloud, make_fleet: MakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
    cloud.lose_answers("RunInstances", times=1)
    instance = make_fleet().obtain(OWNER)
    assert cloud.calls["ec2:RunInstances"] == 2
    assert cloud.ids() == {instance.id}


def test_the_budget_is_asked_before_a_launch_and_refuses_it(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(Purse(refused=frozenset({"t3.large"})))
    with pytest.raises(ResourceUnavailableError, match="40 instance-hours of today"):
        fleet.obtain(OWNER)
    assert cloud.calls["ec2:RunInstances"] == 0


def test_an_instance_that_does_not_start_in_time_is_ended(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    cloud.start_slowly(n_pending=10**6)
    with pytest.raises(ResourceUnavailableError, match=r"did not run after 0\.5 s: pending"):
        make_fleet(start_timeout=0.5).obtain(OWNER)
    wait_until(lambda: not cloud.ids())


def test_an_instance_that_ends_before_it_runs_says_why(cloud: Cloud, make_fleet: MakeFleet) -> None:
    cloud.start_slowly(n_hidden=3)
    fleet = make_fleet()

    def terminate() -> None:
        cloud.proxy.wait_for(lambda: cloud.calls["ec2:DescribeInstances"] > 0)
        for instance_id in cloud.ids():
            cloud.terminate(instance_id)

    thread = threading.Thread(target=terminate)
    thread.start()
    with pytest.raises(ResourceUnavailableError, match=r"ended before it ran: .*shutdown"):
        fleet.obtain(OWNER)
    thread.join()


def test_a_stop_ends_the_wait_and_the_instance(cloud: Cloud, make_fleet: MakeFleet) -> None:
    cloud.start_slowly(n_pending=10**6)
    stopping = threading.Event()
    timer = threading.Thread(
        target=lambda: (
            cloud.proxy.wait_for(lambda: cloud.calls["ec2:DescribeInstances"] > 1),
            stopping.set(),
        )
    )
    timer.start()
    with pytest.raises(ResourceUnavailableError, match="the dispatcher stops"):
        make_fleet().obtain(OWNER, stopping=stopping)
    timer.join()
    wait_until(lambda: not cloud.ids())


def test_the_end_of_the_fleet_ends_all_but_those_that_were_let_go(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(n_workers=3)
    used, waiting, let_go = (fleet.obtain(OWNER) for _ in range(3))
    fleet.give_back(waiting, is_clean=True)
    fleet.let_go(let_go)
    fleet.close()
    assert cloud.ids() == {let_go.id}
    assert used.id != waiting.id
    with pytest.raises(ResourceUnavailableError, match="the dispatcher stops"):
        fleet.obtain(OWNER)


def test_the_end_of_the_fleet_ends_what_is_being_launched_and_what_was_never_answered(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet()
    cloud.lose_answers("RunInstances", times=1)
    with pytest.raises(ResourceUnavailableError, match="did not answer"):
        fleet.obtain(OWNER)
    told: list[BaseException] = []

    def obtain() -> None:
        try:
            fleet.obtain(NEXT)
        except ResourceUnavailableError as error:
            told.append(error)

    thread = threading.Thread(target=obtain)
    with cloud.hanging("RunInstances"):
        n_calls = cloud.calls["ec2:RunInstances"]
        thread.start()
        cloud.proxy.wait_for(lambda: cloud.calls["ec2:RunInstances"] > n_calls)
        closing = threading.Thread(target=fleet.close)
        closing.start()
        wait_until(lambda: fleet._is_closed)
    thread.join()
    closing.join()
    assert "the dispatcher stops" in str(told[0])
    assert len(cloud.ids(["terminated"])) == 2
    assert cloud.ids() == set()


def test_another_dispatcher_takes_an_instance_over(cloud: Cloud, make_fleet: MakeFleet) -> None:
    first, second = make_fleet(), make_fleet()
    instance = first.obtain(OWNER)
    first.let_go(instance)
    owner = Owner("d41d8", "iris", dispatcher=4, submission=17, attempt=2)
    adopted = second.find(instance.id, owner)
    assert adopted.address == instance.address
    assert cloud.tags(instance.id)["ramp:dispatcher"] == "4"
    assert second.find(instance.id) is adopted
    first.close()
    assert cloud.ids() == {instance.id}
    second.close()
    assert cloud.ids() == set()


def test_an_instance_is_held_until_the_last_of_two_workers_has_done_with_it(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet, other = make_fleet(), make_fleet()
    first = fleet.obtain(OWNER)
    owner = Owner("d41d8", "iris", dispatcher=4, submission=17, attempt=2)
    second = fleet.find(first.id, owner)
    assert second is first
    assert cloud.tags(first.id)["ramp:dispatcher"] == "4"
    fleet.let_go(first)
    assert fleet.holds(second.id), "the second holds it"
    fleet.give_back(second, is_clean=True)
    waiting = fleet.find(second.id, owner)
    assert other.find(second.id) is not waiting
    new = fleet.obtain(NEXT)
    assert new.id != waiting.id, "it does not wait any more, it is held"
    fleet.close()
    assert cloud.ids() == set()


def test_an_instance_that_is_gone_cannot_be_taken_over(cloud: Cloud, make_fleet: MakeFleet) -> None:
    first, second = make_fleet(), make_fleet(patience_seconds=5)
    instance = first.obtain(OWNER)
    first.let_go(instance)
    cloud.terminate(instance.id)
    with pytest.raises(WorkerLostError, match=rf"{instance.id} is gone"):
        second.find(instance.id)
    with pytest.raises(WorkerLostError, match="i-0123 is gone"):
        second.find("i-0123")
    with cloud.away(), pytest.raises(ResourceUnavailableError, match="a problem of its own"):
        second.find("i-0123")


def test_a_termination_that_fails_is_tried_again(
    cloud: Cloud, make_fleet: MakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "AGAIN_SECONDS", 0.1)
    fleet = make_fleet()
    one, other = fleet.obtain(OWNER), fleet.obtain(OWNER)
    cloud.refuse("TerminateInstances", "RequestLimitExceeded", times=2)
    cloud.refuse("TerminateInstances", "InvalidInstanceID.NotFound", times=1)
    fleet.give_back(one, is_clean=False)
    fleet.give_back(other, is_clean=False)
    wait_until(lambda: not cloud.ids())
    assert cloud.calls["ec2:TerminateInstances"] >= 4


def test_while_ec2_is_away_instances_are_taken_as_they_were_seen_last(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet()
    instance = fleet.obtain(OWNER)
    with cloud.away():
        n_calls = cloud.calls["ec2:DescribeInstances"]
        cloud.proxy.wait_for(lambda: cloud.calls["ec2:DescribeInstances"] > n_calls + 1)
        assert fleet.look(instance.id) == "running"
        with pytest.raises(ResourceUnavailableError, match="AWS has a problem of its own"):
            fleet.obtain(NEXT)
    cloud.terminate(instance.id)
    wait_until(lambda: fleet.look(instance.id) == "terminated")


def test_nobody_waits_for_a_description_that_hangs(cloud: Cloud, make_fleet: MakeFleet) -> None:
    fleet = make_fleet()
    instance = fleet.obtain(OWNER)
    with cloud.hanging("DescribeInstances"):
        n_calls = cloud.calls["ec2:DescribeInstances"]
        cloud.proxy.wait_for(lambda: cloud.calls["ec2:DescribeInstances"] > n_calls)
        assert fleet.look(instance.id) == "running"
        fleet.give_back(instance, is_clean=True)
        assert fleet.obtain(NEXT) is instance


def test_credentials_that_aws_does_not_know_are_told_before_anything_is_launched(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    fleet = make_fleet(access_key_id="AKIAWRONG", secret_access_key="not-it")
    with pytest.raises(WorkerSetupError, match="AWS does not know the credentials") as caught:
        fleet.obtain(OWNER)
    assert "not-it" not in str(caught.value)


def test_the_host_keys_are_read_from_the_console(cloud: Cloud, make_fleet: MakeFleet) -> None:
    instance = make_fleet().obtain(OWNER)
    assert instance.console_keys() == ()
    keys = ["ecdsa-sha2-nistp256 AAAAE2Vj/dHNh+Y=", "ssh-ed25519 AAAAC3NzaC1lZDI1"]
    cloud.write_console(instance.id, keys)
    assert instance.console_keys() == tuple(keys)
    cloud.refuse("GetConsoleOutput", "UnsupportedOperation", when=lambda asked: "Latest" in asked)
    assert instance.console_keys() == tuple(keys)


def test_an_instance_that_another_dispatcher_has_taken_over_is_left_alone(
    cloud: Cloud, make_fleet: MakeFleet
) -> None:
    paused, other = make_fleet(), make_fleet()
    lost, held = paused.obtain(OWNER), paused.obtain(NEXT)
    taken_by = Owner("d41d8", "iris", dispatcher=4, submission=17, attempt=2)
    taken = [other.find(instance.id, taken_by) for instance in (lost, held)]
    wait_until(lambda: not (paused.holds(lost.id) or paused.holds(held.id)))
    paused.give_up(lost)
    paused.close()
    assert [other.look(one.id) for one in (lost, held)] == ["running", "running"]
    assert set(cloud.ids(["running"])) == {lost.id, held.id}
    other.give_up(taken[0])  # though the instance said that it was another's
    wait_until(lambda: set(cloud.ids(["running"])) == {held.id})
