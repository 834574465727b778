"""What `check_online` finds before anything costs money, and what AWS's refusals become."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import pytest

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Launch
from ramp_engine.aws.lookup import find_image
from ramp_engine.aws.online import check_online
from ramp_engine.errors import ResourceUnavailableError, WorkerError, WorkerSetupError
from tests.aws.cloud import IMAGE, SECRET, Cloud
from tests.aws.fault_proxy import Answer, Rule, Times

ON_DEMAND, SPOT = "L-1216C47A", "L-34B43A08"


@pytest.fixture
def key_path(tmp_path: Path) -> Path:
    path = tmp_path / "iris_key.pem"
    path.write_text("a key")
    path.chmod(0o400)
    return path


@pytest.fixture
def ready(cloud: Cloud) -> Cloud:
    """An account in which everything is as it should be."""
    cloud.quotas |= {ON_DEMAND: 32, SPOT: 32}
    cloud.direct.authorize_security_group_ingress(
        GroupId=cloud.group_id, IpProtocol="tcp", FromPort=22, ToPort=22, CidrIp="10.0.0.0/8"
    )
    return cloud


def problems(cloud: Cloud, key_path: Path, **keys: Any) -> dict[str, str]:
    return dict(check_online(cloud.keys(key_path, n_workers=5) | keys))


def test_nothing_is_wrong_and_nothing_is_launched(ready: Cloud, key_path: Path) -> None:
    assert problems(ready, key_path, use_spot_instance=True, on_demand_fallback=True) == {}
    assert [asked["DryRun"] for asked in ready.asked("RunInstances")] == ["true", "true"]
    assert ready.ids() == set()


def test_everything_that_is_missing_is_told_at_once(ready: Cloud, key_path: Path) -> None:
    key_path.chmod(0o644)
    ready.refuse("DescribeKeyPairs", "InvalidKeyPair.NotFound", "The key pair 'x' does not exist")
    found = problems(
        ready,
        key_path,
        ami_image_name="iris imagee",
        security_group=["launch-wizard-104"],
        subnet_id="subnet-0123",
        instance_type=["t3.large", "t3.huge"],
    )
    assert f"Did you mean {IMAGE!r}?" in found["ami_image_name"]
    assert "AWS refuses key_name: The key pair 'x' does not exist" in found["key_name"]
    assert "subnet_id" in found["subnet_id"]
    assert "does not offer t3.huge" in found["instance_type"]
    assert f"chmod 400 {key_path}" in found["key_path"]
    assert "subnet_id" in found["security_group"]  # a name means a group of that network
    groups = problems(ready, key_path, security_group=["launch-wizard-104"])
    assert "Did you mean 'launch-wizard-103'?" in groups["security_group"]


def test_credentials_that_fail_are_the_only_problem(
    ready: Cloud, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"access_key_id": "AKIAWRONG", "secret_access_key": SECRET}
    found = problems(ready, key_path, **wrong)
    assert list(found) == ["credentials"]
    assert "AWS does not know the access key" in found["credentials"]
    assert "aws sts get-caller-identity" in found["credentials"]
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    found = problems(ready, key_path)
    assert "there are no usable AWS credentials" in found["credentials"]
    assert "profile" in problems(ready, key_path, profile_name="absent")["credentials"]


def test_a_missing_region_is_told(
    ready: Cloud, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert "Give region_name" in problems(ready, key_path, region_name=None)["credentials"]


def test_more_vcpus_than_the_account_may_have_are_told(ready: Cloud, key_path: Path) -> None:
    ready.quotas[ON_DEMAND] = 8  # five t3.large need ten
    text = problems(ready, key_path)["quota"]
    assert "5 instances need 10 vCPUs, the account may have 8 on demand" in text
    del ready.quotas[ON_DEMAND]
    assert "the quota could not be checked" in problems(ready, key_path)["quota"]
    assert problems(ready, key_path, use_spot_instance=True) == {}


def test_an_action_that_is_not_allowed_is_named(ready: Cloud, key_path: Path) -> None:
    assert problems(ready, key_path) == {}
    used = set(ready.calls)
    ready.allow_only(used)
    assert problems(ready, key_path) == {}
    ready.allow_only(used - {"ec2:RunInstances"})
    assert 'Allow "ec2:RunInstances" in the IAM policy' in problems(ready, key_path)["launch"]
    ready.allow_only(used - {"ec2:DescribeKeyPairs"})
    found = problems(ready, key_path)
    assert list(found) == ["key_name"]
    assert 'Allow "ec2:DescribeKeyPairs" in the IAM policy' in found["key_name"]
    assert "xxxx" not in found["key_name"]  # the blob that nobody can read


def test_a_security_group_that_lets_no_ssh_in_is_told(ready: Cloud, key_path: Path) -> None:
    text = problems(ready, key_path, ssh_port=2222)["security_group"]
    assert "lets no SSH in" in text
    assert "TCP port 2222" in text


class Images:
    """As much of a client of EC2 as finds images, each with its owner."""

    def __init__(self, *images: dict[str, Any]) -> None:
        self.images = images

    def get_paginator(self, name: str) -> Images:
        assert name == "describe_images"
        return self

    def paginate(self, **whose: list[str]) -> list[dict[str, Any]]:
        found = self.images
        if "Owners" in whose:
            found = tuple(image for image in found if image["OwnerId"] in whose["Owners"])
        return [{"Images": list(found)}]


def image(image_id: str, year: int, owner: str = "self", **more: Any) -> dict[str, Any]:
    facts = {"Name": IMAGE, "State": "available", "Public": False, "OwnerId": owner}
    return facts | {"ImageId": image_id, "CreationDate": f"{year}-01-01T00:00:00.000Z"} | more


@pytest.mark.parametrize(
    ("images", "found"),
    [
        ([image("ami-1", 2024), image("ami-2", 2026), image("ami-3", 2025)], "ami-2"),
        ([image("ami-1", 2024), image("ami-2", 2026, "other")], "ami-1"),
        ([image("ami-1", 2024, "other"), image("ami-2", 2026, "evil", Public=True)], "ami-1"),
        ([image("ami-1", 2024), image("ami-2", 2026, State="pending")], "ami-1"),
    ],
)
def test_the_newest_image_of_ours_is_taken_then_one_that_was_shared_with_us(
    key_path: Path, images: list[dict[str, Any]], found: str
) -> None:
    keys = AWSWorkerConfig.of(Cloud.keys(key_path))
    assert find_image(cast("Any", Images(*images)), keys) == found


def test_a_public_image_of_somebody_is_never_found_by_its_name(key_path: Path) -> None:
    keys = AWSWorkerConfig.of(Cloud.keys(key_path))
    public = Images(image("ami-2", 2026, "evil", Public=True))
    with pytest.raises(WorkerSetupError, match="has to be named by ami_image_id"):
        find_image(cast("Any", public), keys)
    pending = Images(image("ami-2", 2026, State="pending"))
    with pytest.raises(WorkerSetupError, match="is not available yet"):
        find_image(cast("Any", pending), keys)


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("InsufficientInstanceCapacity", ResourceUnavailableError, "AWS has no room for t3.large"),
        ("SpotMaxPriceTooLow", ResourceUnavailableError, "the spot market asks more"),
        ("InstanceLimitExceeded", ResourceUnavailableError, "Service Quotas console"),
        ("RequestLimitExceeded", ResourceUnavailableError, "AWS throttles us"),
        ("InternalError", ResourceUnavailableError, "AWS has a problem of its own"),
        ("Unsupported", WorkerSetupError, "AWS does not offer t3.large here"),
        ("ExpiredToken", WorkerSetupError, "the credentials have expired"),
        ("SignatureDoesNotMatch", WorkerSetupError, "the secret does not belong"),
        ("InvalidAMIID.NotFound", WorkerSetupError, "AWS refuses ami_image_id"),
        ("InvalidSubnetID.NotFound", WorkerSetupError, "Check subnet_id"),
        ("UnauthorizedOperation", WorkerSetupError, 'Allow "ec2:RunInstances"'),
        ("InvalidParameterValue", WorkerSetupError, "AWS refuses ec2:RunInstances"),
    ],
)
def test_a_refused_launch_says_what_to_do(
    cloud: Cloud, key_path: Path, code: str, kind: type[WorkerError], words: str
) -> None:
    cloud.refuse("RunInstances", code, "as AWS words it")
    keys = AWSWorkerConfig.of(cloud.keys(key_path))
    with pytest.raises(kind, match=r"as AWS words it|ec2:RunInstances") as caught:
        EC2(keys).launch(Launch("t3.large", is_spot=False, token="t-1"))
    assert words in str(caught.value)
    assert caught.value.__cause__ is not None


def test_an_answer_that_is_none_or_cannot_be_read_is_worth_another_try(
    cloud: Cloud, key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ec2 = EC2(AWSWorkerConfig.of(cloud.keys(key_path)))
    cloud.lose_answers("DescribeInstances", times=1)
    with pytest.raises(ResourceUnavailableError, match="AWS did not answer"):
        ec2.describe({})
    unreadable = Answer(200, b"<html>it broke")
    cloud.proxy.add(Rule("DescribeInstances", Times(1), after=lambda _asked, _answer: unreadable))
    with pytest.raises(ResourceUnavailableError, match="AWS did not answer"):
        ec2.describe({})
    assert ec2.describe({}) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    away = EC2(AWSWorkerConfig.of(cloud.keys(key_path)))
    with pytest.raises(ResourceUnavailableError, match="AWS cannot be reached"):
        away.describe({})


def test_without_boto3_one_line_says_how_to_get_it(
    key_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    [(what, problem)] = check_online(Cloud.keys(key_path))
    assert what == "credentials"
    assert problem.endswith('pip install "ramp-engine[aws]"')
    assert "\n" not in problem
