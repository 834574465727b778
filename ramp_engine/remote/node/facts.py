"""What a node is: for the check of versions, and for people."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ramp_engine
from ramp_engine.gpus import GpuPool
from ramp_engine.remote.node.place import Place
from ramp_engine.remote.node.preparing import Prepared
from ramp_engine.remote.node.refusal import Refusal
from ramp_engine.sandbox.settings import machine_mb
from ramp_engine.supervised import last_lines, run_logged

__all__ = ["facts_of_node"]

#: An environment that is being made is not waited for longer than this, in seconds.
PATIENCE_SECONDS = 45.0

_LIST = """\
import importlib.metadata as metadata, json, platform
found = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata}
print(json.dumps({"python": platform.python_version(), "packages": found}))
"""


def facts_of_node(place: Place, gpus: GpuPool, preparing: Future[Prepared]) -> dict[str, Any]:
    """Say what there is on this node.

    Parameters
    ----------
    place : Place
        Of the agent.
    gpus : GpuPool
    preparing : Future
        How folds will run; waited for.

    Returns
    -------
    dict
        ``python`` is this process's version, ``fold_python`` that of the fold's environment;
        ``environment_error`` is there instead of ``packages`` where there is no environment, and
        ``is_being_made`` where there is none yet: ask again.
    """
    engines = {name: _version(name) for name in ("distributed", "ray")}
    facts: dict[str, Any] = {
        "hostname": platform.node(),
        "python": platform.python_version(),
        "ramp": ramp_engine.__version__,
        "engine": {name: version for name, version in engines.items() if version},
        "cpus": len(os.sched_getaffinity(0)),
        "memory_mb": round(machine_mb()),
        "disk_free_mb": shutil.disk_usage(place.root).free >> 20,
        "gpus": len(gpus.all),
        "pid": os.getpid(),
    }
    until = time.monotonic() + PATIENCE_SECONDS
    try:
        prepared = preparing.result(until - time.monotonic())
    except TimeoutError:
        return facts | {"is_being_made": True}
    except Refusal as refusal:
        return facts | {"environment_error": str(refusal)}
    refused = [f"{one.level}: {one.reason} ({one.hint})" for one in prepared.sandbox.refused]
    facts |= {"level": prepared.sandbox.level, "refused": refused}
    return facts | _packages(prepared.python)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _packages(python: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="ramp-facts-") as directory:
        answer, errors = Path(directory, "answer"), Path(directory, "errors")
        command = [str(python), "-I", "-c", _LIST]
        code = run_logged(command, answer, errors_path=errors, timeout_seconds=30)
        try:
            said = json.loads(last_lines(answer, 1))
            return {"fold_python": said["python"], "packages": said["packages"]}
        except (ValueError, KeyError, TypeError):
            reason = last_lines(errors, 3) or f"it ended with code {code}"
            return {"environment_error": f"{python} cannot be asked for its packages: {reason}"}
