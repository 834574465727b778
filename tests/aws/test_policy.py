"""The IAM policies of the page for organisers: enough for all that is done, and no more."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws import AWSWorker
from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Launch
from ramp_engine.aws.online import check_online
from ramp_engine.aws.reaper import Reaper
from ramp_engine.errors import WorkerSetupError
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.ssh_server import requires_sshd
from tests.aws.cloud import Cloud
from tests.aws.farm import Farm, running_farm
from tests.aws.fault_proxy import Answer, Params, Rule, Times
from tests.open_environment import open_python

PAGE = Path(__file__).parents[2] / "doc" / "howto" / "run-on-aws.md"
DEAD = 7
#: AWS answers this one to everybody.
FREE = {"sts:GetCallerIdentity"}


def policies() -> list[list[dict[str, Any]]]:
    """The statements of each policy of the page."""
    blocks = re.findall(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    return [json.loads(block)["Statement"] for block in blocks]


def actions(statements: list[dict[str, Any]]) -> set[str]:
    named = [statement["Action"] for statement in statements]
    return {action for one in named for action in ([one] if isinstance(one, str) else one)}


def tagged_only(statements: list[dict[str, Any]]) -> set[str]:
    """Those that are allowed for what carries our tag, but for tags of a launch."""
    key = "aws:ResourceTag/ramp:deployment"
    return actions([one for one in statements if key in str(one.get("Condition"))])


def hold(cloud: Cloud, *held: list[dict[str, Any]]) -> None:
    """Hold everybody to these policies, with their condition on tags of instances."""
    cloud.allow_only(FREE | set().union(*map(actions, held)))
    limited = set().union(*map(tagged_only, held))

    def before(service: str, params: Params) -> Answer | None:
        if f"{service}:{params.get('Action')}" not in limited:
            return None
        ids = [value for value in params.values() if re.fullmatch("i-[0-9a-f]+", value)]
        if all("ramp:deployment" in cloud.tags(instance_id) for instance_id in ids):
            return None
        return Answer.refusal(service, "UnauthorizedOperation", "not one of ours", 403)

    cloud.proxy.add(Rule("*", Times(None), before=before))


def used(cloud: Cloud) -> set[str]:
    return {action for action, n in cloud.calls.items() if n} - FREE


class Life:
    """The workers of an event, one after another."""

    def __init__(self, farm: Farm, event: ToyEvent, directory: Path) -> None:
        self.event = event
        self.directory = directory
        self.config = farm.keys() | {
            "python": str(open_python()),
            "use_spot_instance": True,
            "deployment": "d",
            "event": "toy",
            "n_workers": 1,
            "logs_dir": str(directory / "logs"),
            "work_dir": str(directory / "work"),
        }

    def worker(self, shared: Any, number: int, scenario: Scenario, **more: Any) -> AWSWorker:
        keys = {key: value for key, value in self.config.items() if key != "logs_dir"}
        keys |= {"dispatcher_id": 1, "submission_id": number, "attempt": 1, **more}
        name = f"submission_{number:09d}"
        config = self.event.config(self.directory / str(number), name, scenario, **keys)
        worker = AWSWorker(config, name)
        worker.shared = shared
        return worker

    def adopter(self, shared: Any, other: AWSWorker) -> AWSWorker:
        worker = AWSWorker({**other.config, "dispatcher_id": 2}, other.submission)
        worker.shared = shared
        return worker


def leave_one_behind(cloud: Cloud, config: Mapping[str, Any]) -> None:
    """Have an instance, and its request to the spot market, of a dispatcher that is dead."""
    names = ("deployment", "event")
    tags = {f"ramp:{name}": str(config[name]) for name in names}
    tags |= {"ramp:dispatcher": str(DEAD), "ramp:submission": "99-1"}
    pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
    kinds = ("spot-instances-request", "instance")
    cloud.direct.request_spot_instances(
        LaunchSpecification={"ImageId": cloud.image_id, "InstanceType": "t3.large"},
        TagSpecifications=[{"ResourceType": kind, "Tags": pairs} for kind in kinds],
    )


def is_live(dispatcher: int, _submission: int, _attempt: int) -> bool:
    return dispatcher != DEAD


@requires_sshd
def test_the_policy_is_enough_for_the_whole_life_of_submissions_and_each_action_is_needed(
    cloud: Cloud, toy_event: ToyEvent, tmp_path: Path
) -> None:
    of_dispatcher, _ = policies()
    hold(cloud, of_dispatcher)
    devices = tmp_path / "dev"
    devices.mkdir()
    (devices / "nvidia0").touch()
    with running_farm(cloud) as farm:
        farm.environment["RAMP_INSTANCE_DEVICES"] = str(devices)
        life = Life(farm, toy_event, tmp_path)
        with AWSWorker.open_shared(life.config) as shared:
            assert life.worker(shared, 1, Scenario.GOOD).launch() == (0, "")
            assert farm.machine().log.count("Accepted publickey") == 1, "one connection for all"
            greedy = life.worker(shared, 2, Scenario.GOOD, gpus=2)
            with pytest.raises(WorkerSetupError, match="needs 2 GPUs, and the instance has 1"):
                greedy.launch()
            left = life.worker(shared, 3, Scenario.HANGING, gpus=True, sandbox="off")
            left.setup()
            left.launch_submission()
            assert cloud.calls["ec2:RunInstances"] == 1, "the instance was warm"
            (plan,) = farm.machine().home.glob(".ramp/runs/*/plan.json")
            assert json.loads(plan.read_text())["environment"]["CUDA_VISIBLE_DEVICES"] == "0"
            with AWSWorker.open_shared(life.config) as other:
                heir = life.adopter(other, left)
                heir.attach(str(left.handle()))
                left.detach()
                heir.cancel()
                heir.teardown()
        leave_one_behind(cloud, life.config)
        (shown,) = Reaper(life.config, is_live).look()
        assert not shown.is_live
        AWSWorker.reap(life.config, None, is_live)
        subnet = cloud.direct.describe_subnets()["Subnets"][0]["SubnetId"]
        settings = AWSWorkerConfig.of(life.config | {"subnet_id": subnet})
        EC2(settings).dry_run(Launch("t3.large", is_spot=False))
    assert cloud.ids() == set()
    assert used(cloud) == actions(of_dispatcher)


def test_the_check_needs_both_policies_and_every_action_of_its_own(
    cloud: Cloud, tmp_path: Path
) -> None:
    of_dispatcher, of_check = policies()
    hold(cloud, of_dispatcher, of_check)
    cloud.quotas |= {"L-1216C47A": 32, "L-34B43A08": 32}
    cloud.direct.authorize_security_group_ingress(
        GroupId=cloud.group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8"
    )
    key = tmp_path / "key.pem"
    key.touch(mode=0o400)
    config = cloud.keys(key, use_spot_instance=True, on_demand_fallback=True)
    assert check_online(config) == []
    assert used(cloud) >= actions(of_check)
    assert used(cloud) <= actions(of_dispatcher) | actions(of_check)
