"""What AWS answers in place of what was asked for, as errors of ours."""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Iterator
from typing import Any

from ramp_engine.errors import (
    ResourceUnavailableError,
    WorkerError,
    WorkerLostError,
    WorkerSetupError,
)

__all__ = [
    "AnswerLostError",
    "InstanceGoneError",
    "NoCapacityError",
    "TakenOverError",
    "UnsupportedHereError",
    "answered",
    "boto",
]

INSTALL_HINT = 'pip install "ramp-engine[aws]"'


class NoCapacityError(ResourceUnavailableError):
    """AWS has no instance of this type for us just now; another type may be had.

    To do: name further types in ``instance_type``, or another region; submissions wait meanwhile.
    """


class UnsupportedHereError(WorkerSetupError):
    """An instance type is not offered where it was asked for; another type may be.

    To do: take the type out of ``instance_type``, or name a region that has it.
    """


class AnswerLostError(ResourceUnavailableError):
    """Nobody knows whether what was asked for has been done: the answer did not come.

    To do: nothing: it is asked again, in a way that does it once.
    """


class InstanceGoneError(ResourceUnavailableError):
    """EC2 knows no instance of this id: it is gone, or was launched a moment ago.

    To do: nothing: another instance is launched.
    """


class TakenOverError(WorkerLostError):
    """An instance is held by another dispatcher, which took this one for dead.

    To do: nothing: the other dispatcher records the outcome.
    """


#: Room is missing for one type of instance: the next of the list may be tried.
_NO_CAPACITY = {
    "InsufficientInstanceCapacity": "AWS has no room for {kind}",
    "InsufficientHostCapacity": "AWS has no room for {kind}",
    "InsufficientReservedInstanceCapacity": "AWS has no room for {kind}",
    "InsufficientCapacity": "AWS has no room for {kind}",
    "InsufficientFreeAddressesInSubnet": "the subnet has no free address for {kind}",
    "SpotMaxPriceTooLow": "the spot market asks more for {kind} than it costs on demand",
    "InstanceLimitExceeded": "the account's limit of instances of type {kind} is reached",
    "VcpuLimitExceeded": "the account's quota of vCPUs for {kind} is used up",
    "MaxSpotInstanceCountExceeded": "the account's limit of spot instances is reached",
    "MaxSpotFleetRequestCountExceeded": "the account's limit of spot requests is reached",
}
#: How to get more than is there for everybody's asking.
_MORE = {
    "InstanceLimitExceeded": "Ask for a higher quota in the Service Quotas console",
    "VcpuLimitExceeded": "Ask for a higher quota in the Service Quotas console",
    "MaxSpotInstanceCountExceeded": "Ask for a higher quota in the Service Quotas console, or set "
    "on_demand_fallback",
}
_UNSUPPORTED = {"Unsupported", "UnsupportedOperation", "InstanceTypeNotSupported"}
_THROTTLED = {
    "RequestLimitExceeded", "Throttling", "ThrottlingException", "ThrottledException",
    "RequestThrottled", "RequestThrottledException", "TooManyRequestsException", "SlowDown",
    "EC2ThrottledException", "ResourceCountExceeded",
}  # fmt: skip
_AWAY = {
    "InternalError", "InternalFailure", "InternalServerError", "ServiceUnavailable", "Unavailable",
    "ServerInternal", "RequestTimeout", "RequestTimeoutException", "503", "500", "502", "504",
}  # fmt: skip
_NO_CREDENTIALS = {
    "AuthFailure": "AWS does not know the credentials",
    "InvalidClientTokenId": "AWS does not know the access key",
    "UnrecognizedClientException": "AWS does not know the access key",
    "SignatureDoesNotMatch": "the secret does not belong to the access key",
    "IncompleteSignature": "the access key is malformed",
    "MissingAuthenticationToken": "no credentials were sent to AWS",
    "ExpiredToken": "the credentials have expired",
    "ExpiredTokenException": "the credentials have expired",
    "RequestExpired": "the credentials have expired, or this machine's clock is wrong",
    "OptInRequired": "the account is not signed up for EC2",
    "PendingVerification": "AWS has not verified the account yet",
    "Blocked": "AWS has blocked the account",
}
_CREDENTIALS_HINT = (
    "Check access_key_id and secret_access_key, profile_name, or the role of this machine; "
    "`aws sts get-caller-identity` says who AWS takes us for"
)
_MISSING = {
    "InvalidAMIID.NotFound": "ami_image_id",
    "InvalidAMIID.Malformed": "ami_image_id",
    "InvalidAMIID.Unavailable": "ami_image_id",
    "InvalidKeyPair.NotFound": "key_name",
    "InvalidGroup.NotFound": "security_group",
    "InvalidGroupId.Malformed": "security_group",
    "InvalidSecurityGroupID.NotFound": "security_group",
    "InvalidSubnetID.NotFound": "subnet_id",
    "InvalidSubnetId.Malformed": "subnet_id",
    "InvalidInstanceType": "instance_type",
}
_UNAUTHORIZED = {"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"}
_GONE = {"InvalidInstanceID.NotFound", "InvalidInstanceID.Malformed"}
_ACTION = re.compile(r"not authorized to perform: (\S+)(?: on resource: (\S+))?")
#: A blob of kilobytes that only its owner can decode.
_BLOB = re.compile(r"\s*Encoded authorization failure message:.*", re.DOTALL)


def boto(part: str = "boto3") -> Any:
    """Import boto3, or botocore, or one of their modules, when it is first needed.

    Raises
    ------
    WorkerSetupError
        It is not installed; the hint says how to.
    """
    try:
        return importlib.import_module(part)
    except ImportError as error:
        raise WorkerSetupError(f"boto3 cannot be imported: {error}", INSTALL_HINT) from error


@contextlib.contextmanager
def answered(action: str, kind: str = "") -> Iterator[None]:
    """Turn every error of boto3 inside the block into one of ours, with the cause kept.

    Parameters
    ----------
    action : str
        The action as IAM names it, such as ``ec2:RunInstances``.
    kind : str
        The instance type that was asked for, where one was.

    Raises
    ------
    WorkerSetupError
        Credentials, permissions, or something that the configuration names are at fault:
        `UnsupportedHereError` where only the instance type is.
    ResourceUnavailableError
        AWS cannot just now: `NoCapacityError` where another instance type may do,
        `AnswerLostError` where the answer did not come, `InstanceGoneError`.
    """
    exceptions = boto("botocore.exceptions")
    try:
        yield
    except exceptions.ClientError as error:
        raise _refusal(error.response.get("Error", {}), action, kind) from error
    except (exceptions.BotoCoreError, boto("botocore.parsers").ResponseParserError) as error:
        raise _failure(exceptions, error, action) from error


def _refusal(told: dict[str, Any], action: str, kind: str) -> WorkerError:
    """Make an error of what AWS said: a code, and a text for people."""
    code, text = str(told.get("Code", "")), _shortened(str(told.get("Message", "")))
    said = f"{text} ({code})" if text else code
    if code in _NO_CAPACITY:
        reason = _NO_CAPACITY[code].format(kind=kind or "the instance")
        return NoCapacityError(f"{reason}: {said}", _MORE.get(code, ""))
    if code in _UNAUTHORIZED:
        return _unauthorized(text, action, code)
    if code in _NO_CREDENTIALS:
        return WorkerSetupError(f"{_NO_CREDENTIALS[code]}: {said}", _CREDENTIALS_HINT)
    if code in _MISSING:
        return WorkerSetupError(f"AWS refuses {_MISSING[code]}: {said}", _check(_MISSING[code]))
    if code in _GONE:
        return InstanceGoneError(f"EC2 does not know the instance: {said}")
    if code in _THROTTLED:
        return ResourceUnavailableError(f"AWS throttles us ({action}): {said}")
    if code in _AWAY:
        return AnswerLostError(f"AWS has a problem of its own ({action}): {said}")
    if code in _UNSUPPORTED and kind:
        hint = "Choose another instance_type, or subnet_id"
        return UnsupportedHereError(f"AWS does not offer {kind} here: {said}", hint)
    return WorkerSetupError(f"AWS refuses {action}: {said}", "Check the section worker")


def _check(key: str) -> str:
    return f"Check {key} and region_name; `ramp config check --online` looks at all of them"


def _unauthorized(text: str, action: str, code: str) -> WorkerSetupError:
    named = _ACTION.search(text)
    action = named[1].rstrip(".,") if named else action
    resource = f" on {named[2].rstrip('.,')}" if named and named[2] else ""
    hint = f'Allow "{action}" in the IAM policy of these credentials'
    return WorkerSetupError(f"AWS does not allow us {action}{resource} ({code})", hint)


def _shortened(text: str) -> str:
    return _BLOB.sub("", text).strip().rstrip(".")[:500]


def _failure(exceptions: Any, error: Exception, action: str) -> WorkerError:
    """Make an error of what befell boto3 before, or instead of, an answer of AWS."""
    text = str(error).strip().rstrip(".")
    if isinstance(error, exceptions.NoRegionError):
        return WorkerSetupError("no AWS region is configured", "Give region_name")
    if isinstance(error, _credential_errors(exceptions)):
        return WorkerSetupError(f"there are no usable AWS credentials: {text}", _CREDENTIALS_HINT)
    if isinstance(error, exceptions.ParamValidationError):
        return WorkerSetupError(f"AWS cannot be asked for this ({action}): {text}")
    if isinstance(error, exceptions.EndpointConnectionError | exceptions.ConnectTimeoutError):
        return ResourceUnavailableError(f"AWS cannot be reached ({action}): {text}")
    unreadable = boto("botocore.parsers").ResponseParserError
    if isinstance(error, exceptions.HTTPClientError | unreadable):
        return AnswerLostError(f"AWS did not answer ({action}): {text}")
    return WorkerSetupError(f"boto3 cannot ask AWS ({action}): {text}", _CREDENTIALS_HINT)


def _credential_errors(exceptions: Any) -> tuple[type[Exception], ...]:
    return (
        exceptions.NoCredentialsError,
        exceptions.PartialCredentialsError,
        exceptions.CredentialRetrievalError,
        exceptions.ProfileNotFound,
        exceptions.TokenRetrievalError,
        exceptions.SSOError,
    )
