"""A connection to a Ray cluster: made within a bounded time, or told why not."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ramp_engine.errors import WorkerSetupError

__all__ = ["Endpoint", "connect", "demand_token", "find_endpoint", "session_of"]

#: How long each step of connecting may take, in seconds.
PATIENCE_SECONDS, INIT_SECONDS = 10.0, 90.0
#: How long the head may take to make a runtime environment, in seconds; ``ray://`` waits for it.
RUNTIME_ENV_SECONDS = 600.0
_CLIENT = "ray://"
_T = TypeVar("_T")


@dataclass(frozen=True)
class Endpoint:
    """Where the head of a cluster listens."""

    host: str
    port: int
    is_client: bool  #: whether Ray's client server listens there, not the head itself

    def __str__(self) -> str:
        return f"{_CLIENT if self.is_client else ''}{self.host}:{self.port}"

    def open(self) -> socket.socket:
        """Open a connection, which nothing is said on.

        Raises
        ------
        OSError
            Nobody listens there.
        """
        return socket.create_connection((self.host, self.port), PATIENCE_SECONDS)


def demand_token(path: Path) -> None:
    """Have Ray authenticate itself by a token from now on, in this process and its children.

    Raises
    ------
    WorkerSetupError
        There is none in the file.
    """
    try:
        is_there = bool(path.read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        raise WorkerSetupError(f"token_file {path} cannot be read: {error}") from error
    if not is_there:
        raise WorkerSetupError(f"token_file {path} is empty", _TOKEN_HINT)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}
    os.environ.pop("RAY_AUTH_TOKEN", None)  # which Ray would prefer


def find_endpoint(address: str) -> Endpoint:
    """Find where the head listens.

    Parameters
    ----------
    address : str
        ``auto``, ``host:port`` or ``ray://host:port``.

    Raises
    ------
    WorkerSetupError
        There is no such thing.
    """
    if address == "auto":
        address = _address_of_this_machine()
    host, _, port = address.removeprefix(_CLIENT).rpartition(":")
    if not host or not port.isdecimal():
        raise WorkerSetupError(
            f"ray_address {address!r} is no address",
            "It is auto, host:port (6379 of a head) or ray://host:port (10001 of a head)",
        )
    return Endpoint(host.strip("[]"), int(port), address.startswith(_CLIENT))


def connect(endpoint: Endpoint, namespace: str, runtime_env: Mapping[str, Any] | None) -> None:
    """Connect this process to a cluster.

    Raises
    ------
    WorkerSetupError
        The cluster cannot be reached, refuses us, or has other versions.
    """
    try:
        endpoint.open().close()
    except OSError as error:
        raise WorkerSetupError(
            f"no Ray cluster can be reached at {endpoint}: {error}",
            "Look whether its head runs (`ray status`), and whether this machine may reach it",
        ) from error
    if not endpoint.is_client:
        session_of(endpoint)
    seconds = RUNTIME_ENV_SECONDS if endpoint.is_client and runtime_env else INIT_SECONDS
    _bounded(lambda: _initialize(endpoint, namespace, runtime_env), seconds, endpoint)


def session_of(endpoint: Endpoint) -> bytes:
    """Give the name of the cluster's session, which another head does not have.

    Raises
    ------
    WorkerSetupError
        Nobody answers, or the token is refused.
    """
    return _bounded(lambda: _ask_head(endpoint, b"session_name"), PATIENCE_SECONDS, endpoint)


def _ask_head(endpoint: Endpoint, key: bytes) -> bytes:
    """Read a value out of the head's store, the cheapest question that needs the token."""
    from ray import _raylet

    client: Any = _raylet.GcsClient(  # type: ignore[attr-defined]
        address=f"{endpoint.host}:{endpoint.port}"
    )
    return bytes(client.internal_kv_get(key, b"session", timeout=PATIENCE_SECONDS) or b"")


def _initialize(endpoint: Endpoint, namespace: str, runtime_env: Mapping[str, Any] | None) -> None:
    import ray

    ray.init(
        address=str(endpoint),
        namespace=namespace,
        runtime_env=dict(runtime_env) if runtime_env else None,
        log_to_driver=False,
        configure_logging=False,
    )


def _bounded(ask: Callable[[], _T], seconds: float, endpoint: Endpoint) -> _T:
    """Do something that Ray may take for ever over, in a thread of its own, or raise our error."""
    results: list[_T] = []
    errors: list[Exception] = []

    def work() -> None:
        try:
            results.append(ask())
        except Exception as error:  # noqa: BLE001  Ray and grpc raise what they like
            errors.append(error)

    thread = threading.Thread(target=work, name="ray-connect", daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if errors:
        raise _as_ours(errors[0], endpoint) from errors[0]
    raise WorkerSetupError(
        f"something listens at {endpoint}, but does not answer as Ray does within {seconds:g} s",
        "A head has the port 6379 for host:port, and 10001 for ray://host:port",
    )


def _as_ours(error: Exception, endpoint: Endpoint) -> WorkerSetupError:
    """Make our error out of one of Ray's."""
    text = str(error)
    if isinstance(error, ImportError):
        return WorkerSetupError(
            f"Ray cannot be used here: {text}", "pip install 'ramp-engine[ray]'"
        )
    if "auth" in type(error).__name__.lower() or "InvalidAuthToken" in text:
        return WorkerSetupError(f"the cluster at {endpoint} refuses the token", _TOKEN_HINT)
    if "ersion mismatch" in text:
        return WorkerSetupError(" ".join(text.split()), _VERSION_HINT)
    return WorkerSetupError(f"Ray cannot connect to {endpoint}: {text[:1500]}", _PLACE_HINT)


def _address_of_this_machine() -> str:
    from ray._private.services import get_ray_address_from_environment

    with contextlib.suppress(ConnectionError):
        if address := get_ray_address_from_environment("auto", None):
            return str(address)
    raise WorkerSetupError(
        "ray_address is auto, but no Ray runs on this machine",
        "Start it with `ray start`, name its head, or leave ray_address out for a local Ray",
    )


_TOKEN_HINT = (
    "Name a file with the token of the cluster as token_file; `ray get-auth-token` shows it"  # noqa: S105  tells of a token, is none
)
_VERSION_HINT = "Ray needs the same on both sides: run ramp with those of the cluster"
_PLACE_HINT = (
    "With host:port this machine has to be a node of the cluster; from elsewhere it is"
    " ray://host:10001"
)
