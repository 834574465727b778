"""Getting to a Dask cluster: one that is there, over TLS where asked, or one for the event."""

from __future__ import annotations

import asyncio
import logging
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.security import Security
from distributed.system import MEMORY_LIMIT

from ramp_engine.errors import WorkerSetupError

__all__ = ["open_client"]

_LOGGER = logging.getLogger(__name__)
_VERSIONS_SECONDS = 30.0
_SCHEDULER = "the scheduler"
_SECURITY_KEYS = {
    "ca_file": "tls_ca_file", "client_cert": "tls_client_cert", "client_key": "tls_client_key",
}  # fmt: skip


@asynccontextmanager
async def open_client(config: Mapping[str, Any]) -> AsyncIterator[Client]:
    """Connect to the cluster of the ``worker`` section; without an address, start one and end it.

    Raises
    ------
    WorkerSetupError
        It cannot be reached, refuses us, or its versions differ from ours.
    """
    if config.get("dask_scheduler"):
        async with _connected(config, str(config["dask_scheduler"]), _security(config)) as client:
            yield client
        return
    with tempfile.TemporaryDirectory(prefix="ramp-dask-") as folder:
        security = _security_of_our_own()
        cluster = await _local_cluster(config, folder, security)
        async with cluster, _connected(config, cluster.scheduler_address, security) as client:
            yield client


@asynccontextmanager
async def _connected(
    config: Mapping[str, Any], address: str, security: Security | None
) -> AsyncIterator[Client]:
    client = await _connect(config, address, security)
    try:
        await _check_versions(client, address)
        yield client
    finally:
        await client.close()


async def _connect(config: Mapping[str, Any], address: str, security: Security | None) -> Client:
    """Connect within the time that Dask's own configuration allows (30 s)."""
    client: Client | None = None
    try:
        client = Client(
            address,
            asynchronous=True,
            set_as_default=False,
            security=security,
            name=f"ramp-{config.get('event', '')}",
        )
        await client
    except (OSError, ssl.SSLError, ImportError, TypeError, ValueError, RuntimeError) as error:
        if client is not None:
            await client.close()
        raise WorkerSetupError(
            f"the Dask scheduler {address} cannot be reached: {_cause(error)}",
            _hint(address, security),
        ) from error
    return client


def _cause(error: BaseException) -> str:
    """Say what is at the bottom of an error: Dask wraps that of TLS."""
    parts = [f"{error}" or type(error).__name__]
    while (deeper := error.__cause__ or error.__context__) is not None:
        error = deeper
    if str(error) and str(error) not in parts[0]:
        parts.append(str(error))
    return ": ".join(parts)


def _hint(address: str, security: Security | None) -> str:
    if security is not None:
        return "Does it run there, with TLS, and do dask_security's files come from its CA?"
    if address.startswith("tls:"):
        return "Set dask_security (ca_file, client_cert, client_key), as its operator gave them out"
    return "Does it run there? If it uses TLS: a tls:// address, and dask_security"


def _security(config: Mapping[str, Any]) -> Security | None:
    """Read ``dask_security``; None: as Dask's own configuration says."""
    section = config.get("dask_security")
    if not section:
        return None
    files = {key: value for key, value in dict(section).items() if value is not None}
    for key, value in files.items():
        if not Path(value).is_file():
            raise WorkerSetupError(f"dask_security: {key}: there is no file {value}")
    named = {_SECURITY_KEYS[key]: str(value) for key, value in files.items()}
    return Security(require_encryption=True, **named)


def _security_of_our_own() -> Security:
    """Make a key that nobody else has, which is on no disk: who reaches a scheduler runs code.

    On loopback that is every user of the machine, and a submission that may use the network.
    """
    try:
        security: Security = Security.temporary()
    except ImportError as error:
        raise WorkerSetupError(
            f"a Dask cluster for the event needs cryptography: {error}",
            "pip install 'ramp-engine[dask]', or name a cluster as dask_scheduler",
        ) from error
    return security


async def _local_cluster(
    config: Mapping[str, Any], folder: str, security: Security
) -> LocalCluster:
    """Start a cluster on this machine: a process for each fold that fits, on loopback only."""
    n_cpus = max(1, int(config.get("cpus") or 1))
    n_workers = max(1, CPU_COUNT // n_cpus)
    resources = {
        "CPU": float(n_cpus),
        "GPU": float(config.get("gpus") or 0),
        "MEMORY": float(MEMORY_LIMIT // n_workers),
        **dict(config.get("resources") or {}),
    }
    ours = {"distributed.worker.profile.enabled": False, "temporary-directory": folder}
    with dask.config.set(ours):
        return await LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            security=security,
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            resources=resources,
            local_directory=folder,
            asynchronous=True,
            silence_logs=logging.ERROR,
        )


async def _check_versions(client: Client, address: str) -> None:
    """Compare Python and distributed on all sides.

    Raises
    ------
    WorkerSetupError
        The scheduler has others, or all workers: tasks would fail in obscure ways. Single workers
        are left out by who asks their agents.
    """
    found = await _read_versions(client)
    ours = found.pop("this side", None)
    different = [f"{side} has {theirs}" for side, theirs in found.items() if theirs != ours]
    workers = found.keys() - {_SCHEDULER}
    is_hopeless = found.get(_SCHEDULER) != ours or all(found[side] != ours for side in workers)
    if ours and different and is_hopeless:
        more = f" (and {len(different) - 3} more)" if len(different) > 3 else ""
        raise WorkerSetupError(
            f"the Dask cluster {address} does not fit: this side has {ours}, but "
            + "; ".join(different[:3])
            + more,
            "Install the same Python (first two numbers) and distributed on all of them",
        )


async def _read_versions(client: Client) -> dict[str, str]:
    """Ask all sides for their versions.

    Returns
    -------
    dict
        From the side (``this side``, ``the scheduler``, ``the worker ADDRESS``) to its versions in
        words; empty when some do not answer in time: a worker that hangs must not stop us.
    """
    try:
        question: Any = client.get_versions()
        found = await asyncio.wait_for(question, _VERSIONS_SECONDS)
    except (TimeoutError, OSError):
        _LOGGER.warning("The Dask cluster does not tell its versions in time")
        return {}
    sides = {"this side": found["client"], _SCHEDULER: found["scheduler"]}
    sides |= {f"the worker {address}": facts for address, facts in found["workers"].items()}
    return {side: _in_words(facts) for side, facts in sides.items()}


def _in_words(facts: Mapping[str, Any]) -> str:
    python = ".".join(str(facts["host"]["python"]).split(".")[:2])
    return f"Python {python} and distributed {facts['packages'].get('distributed')}"
