"""EC2 as this program uses it: every call in one place, errors made ours by `refusals.answered`."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.lookup import find_groups, find_image
from ramp_engine.aws.refusals import (
    AnswerLostError,
    NoCapacityError,
    UnsupportedHereError,
    answered,
    boto,
)
from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

__all__ = ["EC2", "TAG_PREFIX", "Described", "Launch", "SpotRequest"]

#: All tags of ours start so.
TAG_PREFIX = "ramp:"
#: Seconds for a connection, and for an answer: a launch of AWS may take some.
CONNECT_SECONDS, READ_SECONDS = 10, 30
#: Ids that one call may name.
_AT_ONCE = 100


@dataclass(frozen=True)
class Launch:
    """One instance that is asked for."""

    kind: str  #: instance type
    is_spot: bool
    token: str = ""  #: asked for twice with the same, AWS launches once
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Described:
    """An instance as EC2 describes it."""

    id: str
    state: str  #: pending, running, shutting-down, terminated, stopping or stopped
    kind: str  #: instance type
    is_spot: bool
    public_address: str  #: empty when it has none (yet)
    private_address: str
    launched_at: datetime
    tags: Mapping[str, str]
    token: str = ""  #: that of its `Launch`
    reason: str = ""  #: why it is not running any more, in the words of AWS
    image: str = ""  #: id of what it was started from


@dataclass(frozen=True)
class SpotRequest:
    """A request to the spot market, which may outlive what it was made for."""

    id: str
    state: str  #: open, active, closed, cancelled, failed or disabled
    instance_id: str  #: empty without one
    tags: Mapping[str, str]


class EC2:
    """Ask EC2; for all threads.

    Parameters
    ----------
    settings : AWSWorkerConfig
        Credentials, region, and what is launched.

    Notes
    -----
    The client is made at the first call and kept, for it takes 0.3 s. It tries a call again as
    boto3's standard mode does, AWS_MAX_ATTEMPTS times; AWS_ENDPOINT_URL leads it elsewhere. All
    methods raise what `refusals.answered` says.
    """

    def __init__(self, settings: AWSWorkerConfig) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._session: Any = None
        self._clients: dict[str, Any] = {}
        self._launch_lock = threading.Lock()
        self._image = ""
        self._groups: list[str] = []

    def client(self, service: str) -> Any:
        """Give the client of a service of AWS, such as ``ec2`` or ``sts``."""
        with self._lock:
            if service not in self._clients:
                self._clients[service] = self._made(service)
            return self._clients[service]

    def _made(self, service: str) -> Any:
        boto3, config = boto("boto3"), boto("botocore.config")
        keys = self.settings
        with answered(f"{service}:*"):
            if self._session is None:
                self._session = boto3.Session(
                    aws_access_key_id=keys.access_key_id,
                    aws_secret_access_key=keys.secret_access_key,
                    profile_name=keys.profile_name,
                    region_name=keys.region_name,
                )
            return self._session.client(
                service,
                config=config.Config(
                    connect_timeout=CONNECT_SECONDS,
                    read_timeout=READ_SECONDS,
                    retries={"mode": "standard"},
                    user_agent_extra="ramp-engine",
                ),
            )

    @property
    def _ec2(self) -> EC2Client:
        return cast("EC2Client", self.client("ec2"))

    # Instances

    def describe(self, tags: Mapping[str, str]) -> list[Described]:
        """Give all instances that carry all of `tags`, in any state; one call for a thousand."""
        with answered("ec2:DescribeInstances"):
            pages = self._ec2.get_paginator("describe_instances").paginate(Filters=_filters(tags))
            return [
                _described(instance)
                for page in pages
                for reservation in page["Reservations"]
                for instance in reservation["Instances"]
            ]

    def launch(self, launch: Launch) -> Described:
        """Launch an instance; given twice with the same token, one.

        Raises
        ------
        NoCapacityError, UnsupportedHereError
            Another type of instance may be had.
        AnswerLostError
            It may have been launched: look for its token.
        """
        request = self._request(launch)
        try:
            with answered("ec2:RunInstances", launch.kind):
                answer = self._ec2.run_instances(**request)
        except (AnswerLostError, NoCapacityError):
            raise
        except ResourceUnavailableError as error:  # of the last try: an earlier may have done it
            raise AnswerLostError(error.reason, error.hint) from error
        except WorkerSetupError:  # an image that was replaced meanwhile, perhaps
            self._forget_places()
            raise
        return _described(answer["Instances"][0])

    def dry_run(self, launch: Launch) -> None:
        """Ask whether `launch` would be allowed; raises as it would."""
        request = self._request(launch) | {"DryRun": True}
        with answered("ec2:RunInstances", launch.kind):
            try:
                self._ec2.run_instances(**request)
            except boto("botocore.exceptions").ClientError as error:
                if error.response.get("Error", {}).get("Code") != "DryRunOperation":
                    raise

    def terminate(self, ids: Collection[str]) -> None:
        """Terminate instances; those that are terminated already stay so."""
        for some in _portions(ids):
            with answered("ec2:TerminateInstances"):
                self._ec2.terminate_instances(InstanceIds=some)

    def tag(self, ids: Collection[str], tags: Mapping[str, str]) -> None:
        """Set tags of instances, in place of what they had under these keys."""
        for some in _portions(ids):
            with answered("ec2:CreateTags"):
                self._ec2.create_tags(Resources=some, Tags=_tags(tags))

    def console_output(self, instance_id: str) -> str:
        """Give what the instance wrote to its console; empty while AWS has nothing of it."""
        try:
            return self._console(instance_id, is_latest=True)
        except UnsupportedHereError:  # the types before Nitro
            return self._console(instance_id, is_latest=False)

    def _console(self, instance_id: str, *, is_latest: bool) -> str:
        latest: dict[str, Any] = {"Latest": True} if is_latest else {}
        with answered("ec2:GetConsoleOutput", "this type"):
            answer = self._ec2.get_console_output(InstanceId=instance_id, **latest)
        return str(answer.get("Output") or "")

    # Spot requests

    def spot_requests(self, tags: Mapping[str, str]) -> list[SpotRequest]:
        """Give all requests to the spot market that carry all of `tags`."""
        with answered("ec2:DescribeSpotInstanceRequests"):
            pages = self._ec2.get_paginator("describe_spot_instance_requests")
            return [
                SpotRequest(
                    id=request["SpotInstanceRequestId"],
                    state=request["State"],
                    instance_id=request.get("InstanceId", ""),
                    tags=_read_tags(request),
                )
                for page in pages.paginate(Filters=_filters(tags))
                for request in page["SpotInstanceRequests"]
            ]

    def cancel_spot_requests(self, ids: Collection[str]) -> None:
        """Cancel requests; an instance that one has led to goes on."""
        for some in _portions(ids):
            with answered("ec2:CancelSpotInstanceRequests"):
                self._ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=some)

    # What is launched

    def _request(self, launch: Launch) -> dict[str, Any]:
        keys = self.settings
        image, groups = self.image(), self._group_ids()
        request: dict[str, Any] = {
            "ImageId": image,
            "InstanceType": launch.kind,
            "KeyName": keys.key_name,
            "SecurityGroupIds": groups,
            "MinCount": 1,
            "MaxCount": 1,
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 1},
            "UserData": dead_mans_switch(keys.max_lifetime_hours),
            "TagSpecifications": _tag_specifications(launch),
        }
        if launch.token:
            request["ClientToken"] = launch.token
        if keys.subnet_id is not None:
            request["SubnetId"] = keys.subnet_id
        if launch.is_spot:
            request["InstanceMarketOptions"] = {
                "MarketType": "spot",
                "SpotOptions": {
                    "SpotInstanceType": "one-time",
                    "InstanceInterruptionBehavior": "terminate",
                },
            }
        return request

    def image(self) -> str:
        """Give the id of the configured image, which is looked up once.

        Raises
        ------
        WorkerSetupError
            There is none.
        """
        with self._launch_lock:
            if not self._image:
                self._image = find_image(self._ec2, self.settings)
            return self._image

    def _group_ids(self) -> list[str]:
        with self._launch_lock:
            if not self._groups:
                self._groups = find_groups(self._ec2, self.settings)
            return self._groups

    def _forget_places(self) -> None:
        """Look image and security groups up anew before the next launch."""
        with self._launch_lock:
            self._image, self._groups = "", []


def dead_mans_switch(hours: float) -> str:
    """Give the script that an instance runs at its start: it shuts down when nobody ended it."""
    minutes = max(1, round(hours * 60))
    return f"#!/bin/sh\nshutdown -h +{minutes} 'the longest life of an instance of ramp'\n"


def _tag_specifications(launch: Launch) -> list[dict[str, Any]]:
    resources = ["instance", "volume", *(["spot-instances-request"] if launch.is_spot else [])]
    tags = _tags(launch.tags)
    return [{"ResourceType": resource, "Tags": tags} for resource in resources if tags]


def _tags(tags: Mapping[str, str]) -> Any:
    return [{"Key": key, "Value": value[:256]} for key, value in tags.items()]


def _filters(tags: Mapping[str, str]) -> Any:
    return [{"Name": f"tag:{key}", "Values": [value]} for key, value in tags.items()]


def _read_tags(described: Any) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in described.get("Tags", ())}


def _portions(ids: Collection[str]) -> Iterator[list[str]]:
    ordered = sorted(ids)
    for start in range(0, len(ordered), _AT_ONCE):
        yield ordered[start : start + _AT_ONCE]


def _described(instance: Any) -> Described:
    reason = instance.get("StateReason", {}).get("Message") or ""
    return Described(
        id=instance["InstanceId"],
        state=instance["State"]["Name"],
        kind=instance["InstanceType"],
        is_spot=instance.get("InstanceLifecycle") == "spot",
        public_address=instance.get("PublicIpAddress") or "",
        private_address=instance.get("PrivateIpAddress") or "",
        launched_at=instance.get("LaunchTime") or datetime.now(UTC),
        tags=_read_tags(instance),
        token=instance.get("ClientToken") or "",
        reason=reason or instance.get("StateTransitionReason") or "",
        image=instance.get("ImageId") or "",
    )
