"""Find what the configuration names in an account: image, security groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.refusals import answered
from ramp_engine.errors import WorkerSetupError, nearest

if TYPE_CHECKING:
    from mypy_boto3_ec2.client import EC2Client

__all__ = ["find_groups", "find_image"]


def find_image(client: EC2Client, settings: AWSWorkerConfig) -> str:
    """Give the id of the configured image.

    Of several images of one name the newest is taken: of the account's own, or of those that were
    shared with the account.

    Raises
    ------
    WorkerSetupError
        There is none of that name; the hint names the nearest.

    Notes
    -----
    Public images are never found by name: anybody may publish one under the name of another.
    """
    if settings.ami_image_id is not None:
        return settings.ami_image_id
    name = str(settings.ami_image_name)
    known: set[str] = set()
    for whose in ({"Owners": ["self"]}, {"ExecutableUsers": ["self"]}):
        is_own = "Owners" in whose
        images = [one for one in _images(client, whose) if is_own or not one.get("Public")]
        usable = [image for image in images if image.get("State") == "available"]
        named = [image for image in usable if image.get("Name") == name]
        if named:
            newest = max(named, key=lambda image: str(image.get("CreationDate", "")))
            return str(newest["ImageId"])
        if any(image.get("Name") == name for image in images):
            raise WorkerSetupError(
                f"the image {name!r} is not available yet", "Wait, or look at it"
            )
        known.update(str(image["Name"]) for image in usable if image.get("Name"))
    raise WorkerSetupError(
        f"no image of the account, or shared with it, is called {name!r} in this region",
        _names("images", name, known) + ". A public image has to be named by ami_image_id",
    )


def _images(client: EC2Client, whose: Any) -> list[Any]:
    with answered("ec2:DescribeImages"):
        pages = client.get_paginator("describe_images").paginate(**whose)
        return [image for page in pages for image in page["Images"]]


def find_groups(client: EC2Client, settings: AWSWorkerConfig) -> list[str]:
    """Give the ids of the configured security groups.

    Raises
    ------
    WorkerSetupError
        A name belongs to no group of the network, or to several; the hint names the nearest.
    """
    names = settings.security_group
    if all(name.startswith("sg-") for name in names):
        return names
    network = _network(client, settings.subnet_id)
    with answered("ec2:DescribeSecurityGroups"):
        pages = client.get_paginator("describe_security_groups").paginate()
        groups = [group for page in pages for group in page["SecurityGroups"]]
    ids: dict[str, str] = {
        str(group["GroupName"]): str(group["GroupId"])
        for group in groups
        if network is None or group.get("VpcId") in (network, None)
    }
    missing = [name for name in names if not name.startswith("sg-") and name not in ids]
    if missing:
        where = f"the network {network}" if network else "this region"
        raise WorkerSetupError(
            f"{where} has no security group called {missing[0]!r}",
            _names("security groups", missing[0], ids),
        )
    return [name if name.startswith("sg-") else ids[name] for name in names]


def _network(client: EC2Client, subnet: str | None) -> str | None:
    """Give the VPC of the subnet, or the default one; None: the account has no default."""
    if subnet is not None:
        with answered("ec2:DescribeSubnets"):
            return str(client.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"])
    with answered("ec2:DescribeVpcs"):
        filters: Any = [{"Name": "is-default", "Values": ["true"]}]
        networks = client.describe_vpcs(Filters=filters)["Vpcs"]
    return str(networks[0]["VpcId"]) if networks else None


def _names(what: str, name: str, known: Iterable[str]) -> str:
    ordered = sorted(known)
    close = nearest(name, ordered)
    if close is not None:
        return f"Did you mean {close!r}?"
    shown = ", ".join(ordered[:5]) + (", ..." if len(ordered) > 5 else "")
    return f"The {what} there are: {shown}" if ordered else f"There are no {what}"
