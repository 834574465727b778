"""``ramp aws``, ``ramp config check --online`` and the budget in ``ramp status``, as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml
from click.testing import CliRunner, Result
from pydantic import BaseModel

from ramp_database import clock, dispatchers, events
from ramp_database.session import Database
from ramp_database.testing import TOY
from ramp_engine.aws import ledger, reaper
from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Launch
from ramp_engine.aws.instances import Owner
from ramp_engine.cli.main import ramp
from ramp_engine.config import EventConfig
from ramp_engine.errors import WorkerSetupError
from ramp_engine.reaping import Place, reap_config
from ramp_engine.testing import FakeWorker, deploy_fake_event
from tests.aws.cloud import Cloud

OTHER = "another"


class Renter(FakeWorker):
    """A worker with the keys, and the instances, of the one on EC2."""

    config_model: ClassVar[type[BaseModel] | None] = AWSWorkerConfig
    reaps: ClassVar[bool] = True
    problems: ClassVar[list[str]] = []

    @classmethod
    def reap(cls, config: Mapping[str, Any], shared: Any, is_live: Any) -> None:
        reaper.reap(config, shared, is_live)

    @classmethod
    def usage(cls, config: Mapping[str, Any]) -> str | None:
        return ledger.forecast(config)

    @classmethod
    def check_online(cls, config: Mapping[str, Any]) -> Sequence[str]:
        if config["region_name"] == "nowhere":
            raise WorkerSetupError("AWS does not know the region nowhere", "Choose another")
        return cls.problems


class Office:
    """A deployment with two events on EC2, and the commands in it."""

    def __init__(self, directory: Path, cloud: Cloud) -> None:
        self.directory = directory
        self.cloud = cloud
        url = f"sqlite:///{directory}/ramp.db"
        self.config = directory / "config.yml"
        self.config.write_text(yaml.safe_dump({"sqlalchemy": {"url": url}}))
        (directory / "key.pem").touch(mode=0o400)
        self.database = Database(url)
        keys = cloud.keys("../../key.pem", price_per_hour=0.5, max_instance_hours=40)  # type: ignore[arg-type]
        keys["worker_type"] = "tests.aws.test_commands:Renter"
        self.events = {
            name: deploy_fake_event(
                self.database, directory / "events", name=name, worker=keys, heartbeat_seconds=0.1
            )
            for name in (TOY, OTHER)
        }
        with self.database.session() as session:
            for name, event in self.events.items():
                events.get_event(session, name).config_path = str(event.path)

    def ramp(self, *arguments: str) -> Result:
        command = [*arguments, "--config", str(self.config)]
        result = CliRunner().invoke(ramp, command, standalone_mode=False)
        assert result.exception is None, result.exception
        return result

    def register(self, name: str = TOY) -> int:
        with self.database.session() as session:
            event = events.get_event(session, name)
            return dispatchers.register(session, event.id, "host", 1)

    def launch(self, dispatcher: int, name: str = TOY) -> str:
        config = self.worker_config(name)
        owner = Owner(config["deployment"], name, dispatcher, 17, 2)
        ec2 = EC2(AWSWorkerConfig.of(config))
        return ec2.launch(Launch("t3.large", False, f"{name}-{dispatcher}", owner.tags())).id

    def worker_config(self, name: str) -> dict[str, Any]:
        place = Place.read(self.events[name].path, self.directory)
        return reap_config(self.database, place.event)


@pytest.fixture
def office(cloud: Cloud, tmp_path: Path) -> Iterator[Office]:
    made = Office(tmp_path, cloud)
    yield made
    made.database.dispose()


def end(office: Office, dispatcher: int) -> None:
    with office.database.session() as session:
        dispatchers.deregister(session, dispatcher)


def test_the_list_shows_the_instances_of_all_events_and_whose_they_are(office: Office) -> None:
    living, dead = office.register(), office.register(OTHER)
    end(office, dead)
    mine, orphan = office.launch(living), office.launch(dead, OTHER)
    shown = {
        one["instance"]: one for one in json.loads(office.ramp("aws", "list", "--json").stdout)
    }
    assert shown.keys() == {mine, orphan}
    told = shown[mine]
    assert (told["event"], told["dispatcher"], told["is_live"]) == (TOY, living, True)
    assert (told["submission"], told["attempt"], told["type"]) == (17, 2, "t3.large")
    assert told["age_seconds"] >= 0
    assert 0 <= told["cost"] < 1
    assert (shown[orphan]["event"], shown[orphan]["is_live"]) == (OTHER, False)
    table = office.ramp("aws", "list", "--event-config", str(office.events[TOY].path)).stdout
    assert mine in table
    assert orphan not in table


def test_reap_ends_what_is_dead_and_a_dry_run_only_tells(office: Office) -> None:
    living, dead = office.register(), office.register(OTHER)
    end(office, dead)
    mine, orphan = office.launch(living), office.launch(dead, OTHER)
    told = office.ramp("aws", "reap", "--dry-run")
    assert f"{orphan} would be terminated (submission 17-2 of dispatcher {dead})" in told.stdout
    assert office.cloud.ids() == {mine, orphan}
    assert f"{orphan} terminated" in office.ramp("aws", "reap").stdout
    assert office.cloud.ids() == {mine}


def test_a_dispatcher_that_is_silent_gets_time_for_a_sign_of_life(office: Office) -> None:
    silent = office.register()
    lost = office.launch(silent)
    with clock.shifted(3600):
        result = office.ramp("aws", "reap")
    assert f"silent dispatchers ({silent}) get 0.3 s" in result.stderr
    assert f"{lost} terminated" in result.stdout
    assert office.cloud.ids() == set()


def test_a_broken_event_keeps_no_other_from_being_reaped(office: Office) -> None:
    dead = office.register(OTHER)
    end(office, dead)
    office.launch(dead, OTHER)
    office.events[TOY].path.write_text("ramp: [broken\n")
    result = office.ramp("aws", "reap")
    assert f"{TOY} is left out" in result.stderr
    assert result.return_value == 3
    assert office.cloud.ids() == set()


def test_ec2_that_is_away_and_an_instance_that_stays_are_told(office: Office) -> None:
    dead = office.register()
    end(office, dead)
    orphan = office.launch(dead)
    with office.cloud.away():
        assert office.ramp("aws", "list").return_value == 1
    office.cloud.refuse("TerminateInstances", "UnauthorizedOperation")
    result = office.ramp("aws", "reap")
    assert result.return_value == 3
    assert f"{orphan} could not be ended" in result.stderr


def test_the_check_online_asks_the_worker_once_the_files_are_in_order(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    def check(*more: str) -> Result:
        path = office.events[TOY].path
        return office.ramp("config", "check", "--event-config", str(path), *more)

    assert check("--online").return_value == 0
    monkeypatch.setattr(Renter, "problems", ["there is no key pair iris_key"])
    assert check().return_value == 0
    assert "no key pair iris_key" in check("--online").stderr
    told = json.loads(check("--online", "--json").stdout)
    assert (told["is_valid"], told["problems"]) == (
        False,
        [{"message": "there is no key pair iris_key"}],
    )
    change(office.events[TOY], region_name="nowhere")
    assert "Choose another" in check("--online").stderr
    change(office.events[TOY], instance_type=5)
    result = check("--online")
    assert "instance_type" in result.stderr
    assert "nowhere" not in result.stderr


def test_the_worker_on_ec2_is_checked_at_aws(office: Office) -> None:
    event = office.events[TOY]
    change(event, worker_type="ramp_engine.aws.worker:AWSWorker", ami_image_name="no such image")
    result = office.ramp("config", "check", "--online", "--event-config", str(event.path))
    assert result.return_value == 2
    assert "ami_image_name: " in result.stderr
    assert office.cloud.ids() == set()


def change(event: EventConfig, **keys: Any) -> None:
    sections = yaml.safe_load(event.path.read_text())
    sections["worker"] |= keys
    event.path.write_text(yaml.safe_dump(sections))


def test_the_status_shows_the_budget_of_an_event_that_has_one(office: Office) -> None:
    change(office.events[OTHER], max_instance_hours=None)
    told = {
        one["event"]: one["usage"] for one in json.loads(office.ramp("status", "--json").stdout)
    }
    assert told[OTHER] is None
    assert told[TOY].startswith("today (UTC): instance-hours 0.0 of 40")
    shown = office.ramp("status", "--event", TOY).stdout
    assert f"budget: {told[TOY]}" in shown
    office.events[TOY].path.unlink()
    assert "budget" not in office.ramp("status", "--event", TOY).stdout
