"""Check at AWS what is configured, before anything costs money."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Launch
from ramp_engine.aws.lookup import find_groups, find_image
from ramp_engine.aws.refusals import answered
from ramp_engine.errors import WorkerError, WorkerSetupError

__all__ = ["Problem", "check_online"]

#: The quotas of vCPUs of the standard families (A, C, D, H, I, M, R, T, Z), by market.
_STANDARD = {False: "L-1216C47A", True: "L-34B43A08"}
_STANDARD_FAMILIES = frozenset("acdhimrtz")


class Problem(NamedTuple):
    """Something that is configured and will not work."""

    what: str  #: the key, or the thing
    problem: str  #: for people: what is wrong, and what to do


def check_online(config: Mapping[str, Any]) -> list[Problem]:
    """Ask AWS whether everything that the configuration names is there and allowed.

    Parameters
    ----------
    config : mapping
        That of a worker; of the dispatcher's keys ``n_workers`` is looked at.

    Returns
    -------
    list of Problem
        Empty when a launch would succeed now; without credentials, that one problem only. What
        cannot be checked is told as such.

    Notes
    -----
    Nothing is launched: the last check is a dry run. Some ten calls, a few seconds.
    """
    settings = AWSWorkerConfig.of(config)
    ec2 = EC2(settings)
    found = list(_told("credentials", lambda: _check_credentials(ec2)))
    if found:
        return found
    n_workers = int(config.get("n_workers", 1))
    checks: list[tuple[str, Callable[[], None]]] = [
        ("key_path", lambda: _check_key_file(settings)),
        (_image_key(settings), lambda: _check_image(ec2)),
        ("key_name", lambda: _check_key_pair(ec2)),
        ("security_group", lambda: _check_groups(ec2)),
        ("subnet_id", lambda: _check_subnet(ec2)),
        ("instance_type", lambda: _check_types(ec2)),
    ]
    for what, check in checks:
        found += _told(what, check)
    if not found:
        found += _told("quota", lambda: _check_quota(ec2, n_workers))
        found += _told("launch", lambda: _check_launch(ec2))
    return found


def _told(what: str, check: Callable[[], None]) -> Iterator[Problem]:
    try:
        check()
    except WorkerError as error:
        yield Problem(what, str(error))


def _image_key(settings: AWSWorkerConfig) -> str:
    return "ami_image_name" if settings.ami_image_id is None else "ami_image_id"


def _check_credentials(ec2: EC2) -> None:
    client = ec2.client("sts")
    with answered("sts:GetCallerIdentity"):
        client.get_caller_identity()


def _check_key_file(settings: AWSWorkerConfig) -> None:
    path = settings.key_path
    try:
        mode = path.stat().st_mode
    except OSError as error:
        reason = f"the private key {path} cannot be read: {error.strerror}"
        raise WorkerSetupError(reason) from error
    if mode & 0o077:
        raise WorkerSetupError(f"others may read the private key {path}", f"chmod 400 {path}")


def _check_image(ec2: EC2) -> None:
    image = find_image(ec2.client("ec2"), ec2.settings)
    with answered("ec2:DescribeImages"):
        found = ec2.client("ec2").describe_images(ImageIds=[image])["Images"]
    if not found or found[0].get("State") != "available":
        raise WorkerSetupError(f"the image {image} is not available in this region")


def _check_key_pair(ec2: EC2) -> None:
    with answered("ec2:DescribeKeyPairs"):
        ec2.client("ec2").describe_key_pairs(KeyNames=[ec2.settings.key_name])


def _check_groups(ec2: EC2) -> None:
    groups = find_groups(ec2.client("ec2"), ec2.settings)
    with answered("ec2:DescribeSecurityGroups"):
        found = ec2.client("ec2").describe_security_groups(GroupIds=groups)["SecurityGroups"]
    port = ec2.settings.ssh_port
    if not any(_lets_in(rule, port) for group in found for rule in group.get("IpPermissions", ())):
        names = ", ".join(ec2.settings.security_group)
        hint = f"Add an inbound rule for TCP port {port} from this machine"
        raise WorkerSetupError(f"{names} lets no SSH in", hint)


def _lets_in(rule: Mapping[str, Any], port: int) -> bool:
    if rule.get("IpProtocol") == "-1":
        return True
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    return rule.get("IpProtocol") == "tcp" and first <= port <= last


def _check_subnet(ec2: EC2) -> None:
    subnet = ec2.settings.subnet_id
    if subnet is None:
        return
    with answered("ec2:DescribeSubnets"):
        found = ec2.client("ec2").describe_subnets(SubnetIds=[subnet])["Subnets"][0]
    if not (found.get("MapPublicIpOnLaunch") or ec2.settings.use_private_ip):
        hint = "Have it do so, choose another, or set use_private_ip"
        raise WorkerSetupError(f"instances in {subnet} get no public address", hint)


def _check_types(ec2: EC2) -> None:
    kinds = ec2.settings.instance_type
    filters = [{"Name": "instance-type", "Values": kinds}]
    with answered("ec2:DescribeInstanceTypeOfferings"):
        pages = ec2.client("ec2").get_paginator("describe_instance_type_offerings")
        offered = {
            offering["InstanceType"]
            for page in pages.paginate(LocationType="region", Filters=filters)
            for offering in page["InstanceTypeOfferings"]
        }
    missing = [kind for kind in kinds if kind not in offered]
    if missing:
        names = ", ".join(missing)
        raise WorkerSetupError(f"this region does not offer {names}", "Check region_name")


def _check_quota(ec2: EC2, n_workers: int) -> None:
    """Compare the vCPUs of the largest fleet with the account's quota, where it may be asked."""
    kinds = [kind for kind in ec2.settings.instance_type if kind[0] in _STANDARD_FAMILIES]
    if not kinds:
        return
    needed = n_workers * min(_n_vcpus(ec2, kinds))
    for is_spot in _markets(ec2.settings):
        quota = _quota(ec2, _STANDARD[is_spot])
        if needed > quota:
            market = "on the spot market" if is_spot else "on demand"
            raise WorkerSetupError(
                f"{n_workers} instances need {needed} vCPUs, the account may have {quota:g} "
                f"{market} (quota {_STANDARD[is_spot]})",
                "Ask for a higher quota in the Service Quotas console, or lower n_workers",
            )


def _markets(settings: AWSWorkerConfig) -> Iterable[bool]:
    if not settings.use_spot_instance:
        return (False,)
    return (True, False) if settings.on_demand_fallback else (True,)


def _n_vcpus(ec2: EC2, kinds: list[str]) -> list[int]:
    with answered("ec2:DescribeInstanceTypes"):
        types = ec2.client("ec2").describe_instance_types(InstanceTypes=kinds)["InstanceTypes"]
    return [int(item["VCpuInfo"]["DefaultVCpus"]) for item in types]


def _quota(ec2: EC2, code: str) -> float:
    client = ec2.client("service-quotas")
    try:
        with answered("servicequotas:GetServiceQuota"):
            answer = client.get_service_quota(ServiceCode="ec2", QuotaCode=code)
    except WorkerError as error:
        raise WorkerSetupError(f"the quota could not be checked: {error}") from error
    return float(answer["Quota"]["Value"])


def _check_launch(ec2: EC2) -> None:
    """Ask for a launch of each kind that would be allowed, and launch nothing."""
    settings = ec2.settings
    tags = {"ramp:deployment": "dry-run"}
    for is_spot in _markets(settings):
        for kind in settings.instance_type:
            ec2.dry_run(Launch(kind, is_spot, tags=tags))
