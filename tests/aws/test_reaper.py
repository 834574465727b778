"""What nobody answers for is ended, and whatever is in use, or may be, is left alone."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Launch
from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.instances import Owner
from ramp_engine.aws.ledger import Ledger
from ramp_engine.aws.reaper import GRACE_SECONDS, Reaped, Reaper, reap
from ramp_engine.errors import DatabaseUnavailableError, ResourceUnavailableError, WorkerError
from tests.aws.cloud import Cloud

DEPLOYMENT, EVENT = "0123456789abcdef", "iris_test"
DEAD, ALIVE = 7, 8


class Estate:
    """An event's instances in the cloud, with what the database says of their owners."""

    def __init__(self, cloud: Cloud, directory: Path) -> None:
        key_path = directory / "key.pem"
        key_path.touch(mode=0o400)
        self.config: dict[str, Any] = cloud.keys(key_path, price_per_hour=0.5) | {
            "deployment": DEPLOYMENT,
            "event": EVENT,
            "logs_dir": str(directory / "logs"),
            "n_workers": 9,
            "use_spot_instance": True,
        }
        self.cloud = cloud
        self.now = datetime.now(UTC)
        self.asked: list[tuple[int, int, int]] = []
        self.live = {ALIVE}
        self.reaper = self.new_reaper()
        self.ec2 = EC2(self.reaper.settings)

    def new_reaper(self, **more: Any) -> Reaper:
        return Reaper(self.config, self.is_live, clock=self.time, **more)

    def time(self) -> datetime:
        return self.now

    @property
    def ledger(self) -> Ledger:
        return Ledger(Path(self.config["logs_dir"]), self.reaper.settings, self.time)

    def is_live(self, dispatcher: int, submission: int, attempt: int) -> bool:
        self.asked.append((dispatcher, submission, attempt))
        return dispatcher in self.live

    def owner(self, dispatcher: int, submission: int = 17, **other: str) -> Owner:
        names = {"deployment": DEPLOYMENT, "event": EVENT} | other
        return Owner(**names, dispatcher=dispatcher, submission=submission, attempt=2)

    def launch(
        self, dispatcher: int, submission: int = 17, *, is_spot: bool = False, **other: str
    ) -> str:
        owner = self.owner(dispatcher, submission, **other)
        return self.launch_tagged(owner.tags(), is_spot=is_spot)

    def launch_tagged(self, tags: dict[str, str], *, is_spot: bool = False) -> str:
        token = f"test-{len(self.cloud.instances())}-{id(tags)}"
        return self.ec2.launch(Launch("t3.large", is_spot, token, tags)).id

    def request_spot(self, dispatcher: int) -> tuple[str, str]:
        """Ask the spot market for an instance; give the ids of the request and of the instance."""
        tags = [{"Key": k, "Value": v} for k, v in self.owner(dispatcher).tags().items()]
        made = self.cloud.direct.request_spot_instances(
            LaunchSpecification={"ImageId": self.cloud.image_id, "InstanceType": "t3.large"},
            TagSpecifications=[
                {"ResourceType": kind, "Tags": tags}
                for kind in ("spot-instances-request", "instance")
            ],
        )
        id_ = made["SpotInstanceRequests"][0]["SpotInstanceRequestId"]
        return id_, self.requests()[id_]

    def requests(self) -> dict[str, str]:
        """The requests that are not cancelled, and their instances."""
        answer = self.cloud.direct.describe_spot_instance_requests()
        return {
            one["SpotInstanceRequestId"]: one.get("InstanceId", "")
            for one in answer["SpotInstanceRequests"]
            if one["State"] in ("open", "active")
        }


@pytest.fixture
def estate(cloud: Cloud, tmp_path: Path) -> Estate:
    return Estate(cloud, tmp_path)


def ended(reaped: Reaped) -> list[str]:
    return [one.instance.id for one in reaped.instances]


def test_what_a_dead_dispatcher_left_is_ended_in_every_state_and_nothing_else(
    estate: Estate,
) -> None:
    dead, stopped = estate.launch(DEAD, 1), estate.launch(DEAD, 2, is_spot=True)
    estate.cloud.direct.stop_instances(InstanceIds=[stopped])
    kept = {
        estate.launch(ALIVE),
        estate.launch(ALIVE, is_spot=True),
        estate.launch(DEAD, deployment="f" * 16),
        estate.launch(DEAD, event="another"),
        estate.launch_tagged({"Name": "not of ramp"}),
    }
    first = estate.reaper.reap()
    assert sorted(ended(first)) == sorted([dead, stopped])
    assert first.failed == {}
    assert estate.cloud.ids() == kept
    assert estate.reaper.reap() == Reaped(), "again is as good as once"


def test_a_request_to_the_spot_market_goes_with_its_instance(estate: Estate) -> None:
    dead, instance = estate.request_spot(DEAD)
    _, reused = estate.request_spot(DEAD)  # its tags stay those of the first submission
    estate.ec2.tag([reused], estate.owner(ALIVE, 3).tags())
    lost, gone = estate.request_spot(DEAD)
    estate.cloud.terminate(gone)
    estate.request_spot(ALIVE)
    before = estate.requests()
    first = estate.reaper.reap()
    assert ended(first) == [instance]
    assert set(first.spot_requests) == {dead, lost}
    assert estate.requests().keys() == before.keys() - {dead, lost}
    assert estate.reaper.reap() == Reaped()


def test_a_dry_run_ends_nothing(estate: Estate) -> None:
    request, dead = estate.request_spot(DEAD)
    reaped = estate.reaper.reap(is_dry_run=True)
    assert (ended(reaped), reaped.spot_requests) == ([dead], [request])
    assert (estate.cloud.ids(), set(estate.requests())) == ({dead}, {request})
    assert not estate.ledger.path.exists()


def test_an_instance_without_its_tags_is_given_time_to_get_them(estate: Estate) -> None:
    tags = estate.owner(DEAD).tags()
    del tags["ramp:dispatcher"]
    estate.launch_tagged(tags)
    estate.now = datetime.now(UTC) + timedelta(seconds=GRACE_SECONDS / 2)
    assert estate.reaper.reap() == Reaped()
    estate.now += timedelta(seconds=GRACE_SECONDS)
    assert len(estate.reaper.reap().instances) == 1
    assert estate.asked == []


def test_nothing_is_ended_while_nobody_knows_who_lives(estate: Estate) -> None:
    dead = estate.launch(DEAD)

    def away(*_: int) -> bool:
        raise DatabaseUnavailableError("sqlite", "planted")

    with pytest.raises(DatabaseUnavailableError):
        Reaper(estate.config, away).reap()
    with estate.cloud.away(), pytest.raises(WorkerError):
        estate.reaper.reap()
    assert estate.cloud.ids() == {dead}


def test_an_instance_that_gets_another_submission_meanwhile_is_left_to_it(estate: Estate) -> None:
    taken, dead = estate.launch(DEAD, 1), estate.launch(DEAD, 2)

    def is_live(dispatcher: int, submission: int, attempt: int) -> bool:
        if submission == 1:
            estate.ec2.tag([taken], estate.owner(ALIVE, 3).tags())
        return estate.is_live(dispatcher, submission, attempt)

    assert ended(Reaper(estate.config, is_live).reap()) == [dead]
    assert estate.cloud.ids() == {taken}


def test_one_that_cannot_be_ended_keeps_no_other(
    estate: Estate, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [estate.launch(DEAD, number) for number in range(3)]
    estate.cloud.refuse(
        "TerminateInstances",
        "UnauthorizedOperation",
        when=lambda params: ids[1] in params.values(),
    )
    with caplog.at_level(logging.WARNING):
        reaped = estate.reaper.reap()
    assert set(ended(reaped)) == {ids[0], ids[2]}
    assert list(reaped.failed) == [ids[1]]
    assert ids[1] in caplog.text
    assert estate.cloud.ids() == {ids[1]}


def test_what_the_own_fleet_holds_is_its_own_affair(estate: Estate) -> None:
    with Fleet(estate.config) as fleet:
        held, waiting = (fleet.obtain(estate.owner(DEAD, number)) for number in (1, 2))
        fleet.give_back(waiting, is_clean=True)
        reap(estate.config, fleet, estate.is_live)
        assert estate.cloud.ids() == {held.id, waiting.id}
        fleet.let_go(held)
        reap(estate.config, fleet, estate.is_live)
        assert estate.cloud.ids() == {waiting.id}


def test_beside_a_fleet_no_call_of_its_own_is_made_to_see_that_nobody_is_dead(
    estate: Estate,
) -> None:
    estate.config |= {"time_between_collection": 60.0, "use_spot_instance": False}
    with Fleet(estate.config) as fleet:
        fleet.obtain(estate.owner(ALIVE, 1))
        n_asked = estate.cloud.calls["ec2:DescribeInstances"]
        reap(estate.config, fleet, estate.is_live)
        assert estate.cloud.calls["ec2:DescribeInstances"] == n_asked
        dead = estate.launch(DEAD)
        second = fleet.obtain(estate.owner(ALIVE, 2))  # waited for, with a look at all
        reap(estate.config, fleet, estate.is_live)
        assert dead not in estate.cloud.ids()
        assert second.id in estate.cloud.ids()


def test_a_spent_budget_keeps_back_instances_that_wait_as_well(estate: Estate) -> None:
    estate.config["max_instance_hours"] = 1
    ledger = Ledger(Path(estate.config["logs_dir"]), AWSWorkerConfig.of(estate.config), estate.time)
    with Fleet(estate.config, ledger) as fleet:
        first = fleet.obtain(estate.owner(ALIVE, 1))
        estate.now = first.launched_at.replace(hour=23, minute=59)
        ledger.launched(Yesterdays(estate.now - timedelta(hours=2)))
        fleet.give_back(first, is_clean=True)
        with pytest.raises(ResourceUnavailableError, match="used up"):
            fleet.obtain(estate.owner(ALIVE, 2))
        estate.now += timedelta(minutes=2)
        assert fleet.obtain(estate.owner(ALIVE, 2)).id == first.id


@dataclass(frozen=True)
class Yesterdays:
    """An instance that another dispatcher launched."""

    launched_at: datetime
    id: str = "i-another"
    kind: str = "t3.large"
    is_spot: bool = False


def test_the_ledger_learns_what_its_writers_could_not_tell(estate: Estate) -> None:
    dead, live = estate.launch(DEAD), estate.launch(ALIVE)
    estate.now = datetime.now(UTC) + timedelta(seconds=200)
    reap(estate.config, None, estate.is_live)
    assert estate.ledger.today().n_running == 1
    estate.cloud.terminate(live)
    estate.reaper.reap()
    assert estate.ledger.today().n_running == 0
    lines = estate.ledger.path.read_text()
    assert lines.count(dead) == lines.count(live) == 2
