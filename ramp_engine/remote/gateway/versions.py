"""Whether the programs on a node go with those on the dispatcher's machine."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ramp_engine
from ramp_engine.environments import python_for_worker
from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import fingerprint
from ramp_engine.remote.gateway.requests import kit_requirements

__all__ = ["Versions", "own_versions"]

logger = logging.getLogger(__name__)

#: How long the trusted interpreter may take to list its packages, in seconds.
LIST_SECONDS = 120.0
#: Libraries that take part in scoring, whatever the kit says.
_ALWAYS = ("ramp-workflow", "numpy")
_LISTING = "import json, sys; sys.path[0:0] = sys.argv[1:]; import fingerprint as f; "
_LISTING += "print(json.dumps(f.environment_lock()))"
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")


@dataclass(frozen=True)
class Versions:
    """What the dispatcher's machine has."""

    python: str  #: of the gateway, major and minor
    ramp: str
    engines: Mapping[str, str] = field(default_factory=dict)  #: by distribution
    packages: Mapping[str, str] = field(default_factory=dict)  #: that scoring uses, by name

    def differences(self, facts: Mapping[str, Any]) -> list[str]:
        """Tell what a node has otherwise, in words; empty when all goes together.

        Parameters
        ----------
        facts : mapping
            As the node's agent gives them.
        """
        if facts.get("environment_error"):
            return [f"the environment of folds cannot be had there: {facts['environment_error']}"]
        pairs = [
            ("Python", _short(facts.get("python")), self.python),
            ("ramp", facts.get("ramp"), self.ramp),
        ]
        theirs = facts.get("engine") or {}
        pairs += [(name, theirs.get(name), mine) for name, mine in self.engines.items()]
        found = {normal(name): item for name, item in (facts.get("packages") or {}).items()}
        if found:
            pairs += [
                (name, found.get(name, "missing"), mine) for name, mine in self.packages.items()
            ]
        return [
            f"{name} is {there} there and {here} here"
            for name, there, here in pairs
            if there is not None and there != here
        ]

    def fault(self, node: str, facts: Mapping[str, Any]) -> str | None:
        """Tell in one message why a node does not go with this machine; None when it does."""
        found = self.differences(facts)
        if not found:
            return None
        host = facts.get("hostname")
        name = f"{node} ({host})" if host and host != node else node
        return f"node {name} does not go with this machine: {'; '.join(found)}"


def own_versions(config: Mapping[str, Any], engine: str) -> Versions:
    """Find the versions on this machine.

    Parameters
    ----------
    config : mapping
        Of the worker.
    engine : str
        ``dask``, ``ray``, or what else there is.
    """
    distribution = {"dask": "distributed", "ray": "ray"}.get(engine)
    engines = {} if distribution is None else {distribution: _version(distribution)}
    wanted = {*_ALWAYS, *_required(kit_requirements(config) or "")}
    packages = {name: item for name, item in _trusted(config).items() if name in wanted}
    return Versions(
        python=_short(platform.python_version()) or "",
        ramp=ramp_engine.__version__,
        engines={name: item for name, item in engines.items() if item is not None},
        packages=packages,
    )


def normal(name: str) -> str:
    """Give the name of a package as it is compared."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _trusted(config: Mapping[str, Any]) -> dict[str, str]:
    """List the packages of the interpreter of trusted steps; empty when it is not known."""
    names = ("python", "conda_env")
    given = config.get("evaluation") or {name: config.get(name) for name in names}
    try:
        python = python_for_worker(given, Path(config["work_dir"]))
        return _packages(python)
    except (WorkerSetupError, OSError, ValueError, subprocess.SubprocessError) as error:
        logger.warning("libraries are not compared: %s", error)
        return {}


def _packages(python: Path) -> dict[str, str]:
    folder = str(Path(fingerprint.__file__).parent)
    done = subprocess.run(
        [str(python), "-I", "-c", _LISTING, folder],
        check=True,
        capture_output=True,
        timeout=LIST_SECONDS,
    )
    lines = [line.partition("==") for line in json.loads(done.stdout)]
    return {normal(name): version for name, _, version in lines if version}


def _required(requirements: str) -> set[str]:
    lines = [line for line in requirements.splitlines() if not line.lstrip().startswith(("#", "-"))]
    return {normal(match[1]) for line in lines if (match := _REQUIREMENT.match(line))}


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _short(version: Any) -> str | None:
    return None if version is None else ".".join(str(version).split(".")[:2])
