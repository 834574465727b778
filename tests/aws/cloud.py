"""A cloud for tests: moto's server, as strict and as slow as AWS is, on loopback.

`cloud` gives one without instances. Programs reach it by the environment that the fixture sets, or
that `Cloud.environment` gives for a process of their own; nothing asks the real AWS.
"""

from __future__ import annotations

import base64
import os
import subprocess
import sys
import threading
import urllib.request
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.aws.fault_proxy import Answer, FaultProxy, Params, Rule, Times

__all__ = ["Cloud", "cloud", "running_cloud"]

REGION = "us-west-2"
ACCESS_KEY, SECRET = "AKIATESTTESTTESTTEST", "not-a-secret"
IMAGE, KEY, GROUP = "iris image", "iris_key", "launch-wizard-103"
#: Addresses of instances, one after another: all lead to this machine.
ADDRESSES = tuple(f"127.0.77.{number}" for number in range(1, 255))

_NAMESPACE = "http://ec2.amazonaws.com/doc/2016-11-15"
_LIVING = ["pending", "running", "stopping", "stopped"]


class Cloud:
    """What tests do to the cloud, and what they see of it.

    Everything passes through `proxy`, but for what is asked by `direct`, which tests look with.
    """

    def __init__(self, proxy: FaultProxy) -> None:
        self.proxy = proxy
        self.direct: Any = _client("ec2", proxy.upstream)
        self.quotas: dict[str, float] = {}
        self._launches: dict[str, tuple[dict[str, str], Answer]] = {}
        self._launching = threading.Lock()
        self._views: Counter[str] = Counter()
        self._n_hidden = 0
        self._n_pending = 0
        self._consoles: dict[str, str] = {}
        self._hung = threading.Event()

    def reset(self) -> None:
        """Make it new: an image, a key pair, a security group, and nothing else of ours."""
        self.release()
        self._hung = threading.Event()
        url = f"http://127.0.0.1:{self.proxy.upstream}/moto-api/reset"
        urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=60).close()
        self.proxy.clear()
        for store in (self.quotas, self._launches, self._views, self._consoles):
            store.clear()
        self._n_hidden = self._n_pending = 0
        self.image_id = self.add_image(IMAGE)
        self.direct.create_key_pair(KeyName=KEY)
        made = self.direct.create_security_group(GroupName=GROUP, Description="SSH")
        self.group_id = str(made["GroupId"])
        for rule in (
            Rule("*", Times(None), before=self._know_credentials),
            Rule("RunInstances", Times(None), before=self._check_launch, after=self._remember),
            Rule("DescribeInstances", Times(None), after=self._as_seen),
            Rule("GetConsoleOutput", Times(None), before=self._console),
            Rule("GetServiceQuota", Times(None), before=self._quota),
        ):
            self.proxy.add(rule)

    def release(self) -> None:
        """Let go of what hangs."""
        self._hung.set()

    # For those who use it

    def environment(self) -> dict[str, str]:
        """The variables with which boto3 asks this cloud, and nothing else."""
        return {
            "AWS_ENDPOINT_URL": self.proxy.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_MAX_ATTEMPTS": "1",
        }

    @staticmethod
    def keys(key_path: Path, **more: Any) -> dict[str, Any]:
        """The keys of a section ``worker`` that fits."""
        return {
            "region_name": REGION,
            "ami_image_name": IMAGE,
            "instance_type": ["t3.large"],
            "key_name": KEY,
            "key_path": key_path,
            "security_group": [GROUP],
        } | more

    # What there is

    def add_image(self, name: str) -> str:
        """Register an image of the account's own."""
        made = self.direct.register_image(Name=name, Architecture="x86_64")
        return str(made["ImageId"])

    def instances(self, states: Sequence[str] = tuple(_LIVING)) -> list[Any]:
        """The instances in these states, as moto describes them."""
        filters = [{"Name": "instance-state-name", "Values": list(states)}]
        answer = self.direct.describe_instances(Filters=filters)
        return [item for one in answer["Reservations"] for item in one["Instances"]]

    def ids(self, states: Sequence[str] = tuple(_LIVING)) -> set[str]:
        return {str(item["InstanceId"]) for item in self.instances(states)}

    def tags(self, instance_id: str) -> dict[str, str]:
        found = self.direct.describe_instances(InstanceIds=[instance_id])
        tags = found["Reservations"][0]["Instances"][0].get("Tags", [])
        return {tag["Key"]: tag["Value"] for tag in tags}

    @property
    def calls(self) -> Counter[str]:
        """How often each action was asked for, such as ``ec2:RunInstances``."""
        return self.proxy.calls

    def asked(self, action: str) -> list[dict[str, str]]:
        """The parameters of the calls of an action, in order."""
        return [params for name, params in list(self.proxy.log) if name == action]

    # What befalls it

    def terminate(self, instance_id: str) -> None:
        """Take an instance away, as the spot market does, or somebody at the console."""
        self.direct.terminate_instances(InstanceIds=[instance_id])

    def refuse(
        self,
        action: str,
        code: str,
        message: str = "as the test wants it",
        *,
        times: int | None = None,
        status: int = 400,
        when: Callable[[Params], bool] = lambda _params: True,
    ) -> Rule:
        """Answer the next `times` calls of an action, or all, with an error; before moto does."""
        count = Times(times)

        def before(service: str, params: Params) -> Answer | None:
            if not when(params) or not count.take():
                return None
            return Answer.refusal(service, code, message, status)

        rule = Rule(action, Times(None), before=before)
        with self.proxy.changed:
            self.proxy.rules.insert(0, rule)
        return rule

    def lose_answers(self, action: str, times: int | None = None) -> Rule:
        """Do what is asked and drop the connection."""
        return self.proxy.add(Rule(action, Times(times), after=lambda _params, _answer: None))

    @contextmanager
    def hanging(self, action: str = "*") -> Iterator[None]:
        """Answer nothing inside the block."""
        ended = threading.Event()

        def before(_service: str, _params: Params) -> None:
            while not (ended.wait(0.1) or self._hung.is_set()):
                pass

        rule = Rule(action, Times(None), before=before)
        with self.proxy.changed:
            self.proxy.rules.insert(0, rule)
        try:
            yield
        finally:
            ended.set()
            self.proxy.remove(rule)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Refuse everything inside the block, as a service that is down."""
        rule = self.refuse("*", "ServiceUnavailable", "The service is unavailable", status=503)
        try:
            yield
        finally:
            self.proxy.remove(rule)

    def allow_only(self, actions: Collection[str]) -> None:
        """Hold everybody to an IAM policy that allows these, such as ``ec2:RunInstances``."""

        def before(service: str, params: Params) -> Answer | None:
            action = f"{service}:{params.get('Action', '')}"
            if not params.get("Action") or action in actions:
                return None
            text = f"User: arn:aws:iam::1:user/ramp is not authorized to perform: {action}"
            blob = "Encoded authorization failure message: " + "x" * 200
            return Answer.refusal(service, "UnauthorizedOperation", f"{text}. {blob}", 403)

        with self.proxy.changed:
            self.proxy.rules.insert(0, Rule("*", Times(None), before=before))

    def start_slowly(self, *, n_hidden: int = 0, n_pending: int = 0) -> None:
        """Have instances be missing in so many descriptions, then pending in so many."""
        self._n_hidden, self._n_pending = n_hidden, n_pending

    def write_console(self, instance_id: str, host_keys: Sequence[str]) -> None:
        """Have an instance tell its host keys on its console, as cloud-init does."""
        lines = ["[    9.1] cloud-init[812]: Cloud-init v. 24.1 finished"]
        lines += ["-----BEGIN SSH HOST KEY KEYS-----", *(f"{key} root@ip" for key in host_keys)]
        lines += ["-----END SSH HOST KEY KEYS-----", "ubuntu login: "]
        self._consoles[instance_id] = "\r\n".join(lines)

    # As AWS does it, and moto does not

    def _know_credentials(self, service: str, params: Params) -> Answer | None:
        if params["access_key"] == ACCESS_KEY:
            return None
        if service == "ec2":
            text = "AWS was not able to validate the provided access credentials"
            return Answer.refusal(service, "AuthFailure", text, 401)
        text = "The security token included in the request is invalid."
        return Answer.refusal(service, "InvalidClientTokenId", text, 403)

    def _check_launch(self, service: str, params: Params) -> Answer | None:
        known = self._launches.get(params.get("ClientToken", ""))
        if known is not None:
            if _without_signature(params) == known[0]:
                return known[1]
            text = "Arguments on this idempotent request are inconsistent"
            return Answer.refusal(service, "IdempotentParameterMismatch", text, 400)
        groups = [value for key, value in params.items() if key.startswith("SecurityGroupId.")]
        try:
            images = self.direct.describe_images(ImageIds=[params["ImageId"]])["Images"]
            self.direct.describe_key_pairs(KeyNames=[params["KeyName"]])
            self.direct.describe_security_groups(GroupIds=groups)
        except ClientError as error:
            told = error.response["Error"]
            return Answer.refusal(service, told["Code"], told["Message"], 400)
        if not images:  # deregistered; moto would launch it
            text = f"The image ID '{params['ImageId']}' is no longer available"
            return Answer.refusal(service, "InvalidAMIID.Unavailable", text, 400)
        return None

    def _remember(self, params: Params, answer: Answer) -> Answer:
        if answer.status == 200 and "ClientToken" in params:
            self._launches[params["ClientToken"]] = (_without_signature(params), answer)
        return answer

    def _as_seen(self, _params: Params, answer: Answer) -> Answer:
        if answer.status != 200 or not (self._n_hidden or self._n_pending):
            return answer
        root = ET.fromstring(answer.content)  # noqa: S314 (moto wrote it)
        for instances in root.iterfind(".//{*}instancesSet"):
            for item in list(instances):
                self._see(instances, item)
        return Answer(200, ET.tostring(root), answer.headers)

    def _see(self, instances: ET.Element, item: ET.Element) -> None:
        instance_id = str(item.findtext("{*}instanceId"))
        with self._launching:
            self._views[instance_id] += 1
            n_views = self._views[instance_id]
        state = item.find("{*}instanceState/{*}name")
        if n_views <= self._n_hidden:
            instances.remove(item)
        elif n_views <= self._n_hidden + self._n_pending and state is not None:
            state.text = "pending"

    def _console(self, service: str, params: Params) -> Answer:
        instance_id = params["InstanceId"]
        output = base64.b64encode(self._consoles.get(instance_id, "").encode()).decode()
        body = (
            f'<GetConsoleOutputResponse xmlns="{_NAMESPACE}"><instanceId>{instance_id}'
            f"</instanceId><output>{output}</output></GetConsoleOutputResponse>"
        )
        return Answer(200, body.encode())

    def _quota(self, service: str, params: Params) -> Answer:
        for code, value in self.quotas.items():
            if f'"{code}"' in params["body"]:
                body = f'{{"Quota": {{"QuotaCode": "{code}", "Value": {value}}}}}'
                return Answer(200, body.encode(), {"Content-Type": "application/x-amz-json-1.1"})
        return Answer.refusal(service, "AccessDeniedException", "no quotas for you", 400)


def _without_signature(params: Params) -> dict[str, str]:
    return {key: value for key, value in params.items() if key != "access_key"}


def _client(service: str, port: int) -> Any:
    session: Any = boto3.Session(ACCESS_KEY, SECRET, region_name=REGION)
    return session.client(
        service, endpoint_url=f"http://127.0.0.1:{port}", config=Config(read_timeout=60)
    )


@contextmanager
def running_cloud(addresses: Sequence[str] = ADDRESSES) -> Iterator[Cloud]:
    """Start moto in a process of its own, and what stands before it."""
    command = [sys.executable, str(Path(__file__).with_name("moto_process.py")), *addresses]
    pipes: Mapping[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, **pipes) as moto:
        try:
            assert moto.stdout is not None
            proxy = FaultProxy(int(moto.stdout.readline()))
            try:
                yield Cloud(proxy)
            finally:
                proxy.close()
        finally:
            moto.kill()


@pytest.fixture
def cloud(cloud_server: Cloud, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud with nothing in it, which boto3 in this process asks."""
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.delenv("AWS_SESSION_TOKEN", raising=False)
    for key, value in cloud_server.environment().items():
        monkeypatch.setenv(key, value)
    cloud_server.reset()
    yield cloud_server
    cloud_server.release()
