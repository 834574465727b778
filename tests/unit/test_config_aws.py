"""The keys of the worker on EC2 instances."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from ramp_engine import config_sections
from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import ConfigErrors

#: As RAMP's documentation shows it.
DOCUMENTED = """\
ramp:
    problem_name: iris
    event_name: iris_ramp_aws_test
    event_title: "iris ramp aws test"
    event_is_public: true
worker:
    worker_type: aws
    access_key_id: <aws_access_key_id for boto3 Session>
    secret_access_key: <aws_secret_access_key for boto3 Session>
    region_name: us-west-2 # oregon
    ami_image_name: <name of the AMI set up for this event>
    ami_user_name: ubuntu
    instance_type: t2.micro
    use_spot_instance: false
    key_name: <name of your pem file, eg iris_key>
    security_group: launch-wizard-103
    key_path: <path to pem file corresponding to user name, eg my_path/iris_key.pem>
    remote_ramp_kit_folder: /home/ubuntu/ramp-kits/iris
    submissions_dir: /home/ramp/ramp_deployment/events/iris_aws/submissions
    predictions_dir: /home/ramp/ramp_deployment/events/iris_aws/predictions
    logs_dir: /home/ramp/ramp_deployment/events/iris_aws/logs
    memory_profiling: false
dispatcher:
    hunger_policy: sleep
    n_workers: 5
    n_threads: 2
    time_between_collection: 60
"""

LEAST = {
    "ami_image_id": "ami-0123",
    "instance_type": "t3.large",
    "key_name": "iris_key",
    "key_path": "keys/iris.pem",
    "security_group": "launch-wizard-103",
}


def load_text(tmp_path: Path, text: str) -> EventConfig:
    path = tmp_path / "events" / "iris" / "config.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return load_event(path, worker_model=lambda _name: AWSWorkerConfig)


def load(tmp_path: Path, more: Mapping[str, Any] | None = None, **worker: Any) -> EventConfig:
    ramp = {"problem_name": "iris", "event_name": "iris_test"}
    keys = {key: value for key, value in (LEAST | worker).items() if value is not None}
    sections = {"ramp": ramp, "worker": {"worker_type": "aws", **keys}, **(more or {})}
    return load_text(tmp_path, yaml.safe_dump(sections))


def test_the_documented_configuration_is_accepted_word_for_word(tmp_path: Path) -> None:
    event = load_text(tmp_path, DOCUMENTED)
    assert event.dispatcher.n_workers == 5
    assert event.dispatcher.time_between_collection == 60
    config = event.worker_config()
    assert config["instance_type"] == ["t2.micro"]
    assert config["remote_ramp_kit_folder"] == "/home/ubuntu/ramp-kits/iris"
    keys = AWSWorkerConfig.of(config)
    assert keys.security_group == ["launch-wizard-103"]
    assert keys.idle_minutes == 10


def test_the_older_name_of_the_time_between_collections_is_read(tmp_path: Path) -> None:
    event = load(tmp_path, check_status_interval_secs=30, timeout=600)
    assert event.dispatcher.time_between_collection == 30
    assert event.dispatcher.timeout == 600


def test_the_key_is_a_file_of_this_machine_and_other_paths_are_the_instances(
    tmp_path: Path,
) -> None:
    event = load(tmp_path, python="/opt/env/bin/python", extra_read_paths=["~/models"])
    config = event.worker_config()
    assert config["key_path"] == event.directory / "keys" / "iris.pem"
    assert config["python"] == "/opt/env/bin/python"
    assert [str(path) for path in config["extra_read_paths"]] == ["~/models"]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"access_key_id": "AKIA1"}, "access_key_id and secret_access_key, or neither"),
        ({"secret_access_key": "s"}, "access_key_id and secret_access_key, or neither"),
        (
            {"access_key_id": "AKIA1", "secret_access_key": "s", "profile_name": "ramp"},
            "either access_key_id and secret_access_key, or profile_name",
        ),
        ({"ami_image_name": "iris"}, "either ami_image_name or ami_image_id"),
        ({"ami_image_id": None}, "either ami_image_name or ami_image_id"),
        ({"ami_image_id": "iris"}, "an id such as ami-0abc123"),
        ({"subnet_id": "vpc-1"}, "an id such as subnet-0abc"),
        ({"instance_type": []}, "the name of an instance type"),
        ({"instance_typ": "t3.large"}, "instance_type"),
        ({"conda_env": "a", "python": "/b"}, "either conda_env or python"),
        ({"python": "../env"}, "an absolute path on the instance"),
        ({"max_cost": 5}, "price_per_hour of t3.large, for max_cost"),
        ({"price_per_hour": True}, "a number above 0, or one for each instance type"),
        ({"ssh_port": 70000}, "ssh_port"),
    ],
)
def test_what_is_wrong_is_told_at_once(tmp_path: Path, keys: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigErrors) as caught:
        load(tmp_path, **keys)
    assert words in str(caught.value)


def test_a_price_is_needed_for_each_type_in_each_market_that_is_used(tmp_path: Path) -> None:
    types, spot = ["t3.large", "m5.large"], {"use_spot_instance": True}
    cheap = {"t3.large": 0.02, "m5.large": 0.03}
    load(tmp_path, instance_type=types, max_cost=5, spot_price_per_hour=cheap, **spot)
    with pytest.raises(ConfigErrors, match=r"price_per_hour of m5\.large, t3\.large"):
        load(
            tmp_path,
            instance_type=types,
            max_cost=5,
            spot_price_per_hour=cheap,
            on_demand_fallback=True,
            **spot,
        )
    with pytest.raises(ConfigErrors, match=r"price_per_hour of m5\.large"):
        load(tmp_path, instance_type=types, max_cost=5, price_per_hour={"t3.large": 0.08})


def test_a_spot_hour_costs_what_one_on_demand_does_unless_it_is_said() -> None:
    keys = LEAST | {"price_per_hour": {"t3.large": 0.08}}
    assert AWSWorkerConfig.of(keys).price("t3.large", is_spot=True) == 0.08
    keys |= {"spot_price_per_hour": 0.03}
    assert AWSWorkerConfig.of(keys).price("t3.large", is_spot=True) == 0.03
    assert AWSWorkerConfig.of(keys).price("t3.large", is_spot=False) == 0.08
    assert AWSWorkerConfig.of(keys).price("m5.large", is_spot=False) is None


def test_the_secret_is_not_printed(tmp_path: Path) -> None:
    event = load(tmp_path, access_key_id="AKIAHIDDEN", secret_access_key="hidden/secret")
    shown = event.to_printable()
    assert "idden" not in json.dumps(shown).lower()
    assert shown["worker"]["key_path"].endswith("iris.pem")
    assert "idden" not in repr(AWSWorkerConfig.of(event.worker_config())).lower()


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ({}, (None, 1)),
        ({"n_workers": 3}, (None, 1)),
        ({"n_threads": 3}, (3, 1)),
        ({"n_threads": 4, "n_jobs_per_submission": 2}, (4, 2)),
    ],
)
def test_folds_take_all_cores_of_the_instance_one_after_another_whatever_this_machine_has(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    section: dict[str, int],
    expected: tuple[int | None, int],
) -> None:
    monkeypatch.setattr(config_sections, "n_cores", lambda: 8)
    dispatcher = load(tmp_path, {"dispatcher": section}).dispatcher
    assert (dispatcher.n_threads, dispatcher.n_jobs_per_submission) == expected


@pytest.mark.parametrize(
    ("section", "seconds"), [({}, 3600.0), ({"hung_after_seconds": 1200}, 1200.0)]
)
def test_an_instance_may_take_an_hour_to_be_bought_started_and_filled(
    tmp_path: Path, section: dict[str, int], seconds: float
) -> None:
    assert load(tmp_path, {"dispatcher": section}).dispatcher.hung_after_seconds == seconds


def test_the_configuration_of_the_page_is_accepted(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "doc" / "howto" / "run-on-aws.md"
    (block,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    event = load_text(tmp_path, "ramp: {problem_name: iris, event_name: iris}\n" + block)
    keys = AWSWorkerConfig.of(event.worker_config())
    assert keys.price("c6i.large", is_spot=False) == 0.10
    assert keys.price("c6i.large", is_spot=True) == 0.04
    assert event.dispatcher.n_workers == 5
