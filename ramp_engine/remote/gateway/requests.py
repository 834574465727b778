"""What the gateway says to nodes: made of the keys of the worker."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.bundle_archive import BundleName
from ramp_engine.remote.engine import Demands
from ramp_engine.remote.frames import Frame
from ramp_engine.sandbox import SandboxKeys

__all__ = ["Requests"]


class Requests:
    """Make requests to the agents of nodes.

    Parameters
    ----------
    config : mapping
        Of the worker, as `ramp_engine.config.EventConfig.worker_config` gives it.
    lease : str
        Of the gateway.
    """

    def __init__(self, config: Mapping[str, Any], lease: str) -> None:
        self._config = config
        self.lease = lease
        self.lease_seconds = float(config.get("lease_seconds", 60.0))
        self.checkpoint_seconds = float(config.get("checkpoint_timeout", 120.0))
        self._common = {
            "lease": lease,
            "lease_seconds": self.lease_seconds,
            "site": {"key": _site_key(config), "node_dir": config.get("node_dir")},
            "spec": self._spec(),
        }

    @property
    def demands(self) -> Demands:
        """What a fold needs of a node."""
        config = self._config
        return Demands(
            cpus=float(config.get("cpus", 1.0)),
            gpus=float(config.get("gpus", 0.0)),
            memory_mb=config.get("memory"),
            resources=config.get("resources") or {},
            labels=config.get("label_selector") or {},
        )

    def make(self, op: str, payload: bytes = b"", **more: Any) -> Frame:
        """Make a request."""
        return Frame({"op": op, **self._common, **more}, payload)

    def fold(
        self,
        job: str,
        fold: int,
        bundle: BundleName,
        timeout_seconds: float | None,
        files: tuple[list[list[Any]], bytes],
        checkpoint: tuple[list[list[Any]], bytes],
    ) -> Frame:
        """Ask for a fold to be run, with the participant's files and what it saved before."""
        return self.make(
            "fold",
            files[1] + checkpoint[1],
            job=job,
            fold=fold,
            bundle=bundle.to_json(),
            timeout_seconds=timeout_seconds,
            gpus=self._config.get("gpus", 0),
            files=files[0],
            checkpoint=checkpoint[0],
        )

    def _spec(self) -> dict[str, Any]:
        config = self._config
        return {
            "environment": self._environment(),
            "keys": SandboxKeys.of(config).model_dump(mode="json"),
            "n_threads": max(1, int(float(config.get("cpus", 1.0)))),
            "bundle_store": config.get("bundle_store"),
            "cache_mb": float(config.get("cache_mb", 20480.0)),
            "memory_mb": config.get("memory"),
        }

    def _environment(self) -> dict[str, str]:
        for key in ("conda_env", "python"):
            if self._config.get(key):
                return {key: str(self._config[key])}
        if self._config.get("runtime_env"):
            return {}  # the engine has made one, and its tasks run in it
        requirements = kit_requirements(self._config)
        return {} if requirements is None else {"requirements": requirements}


def kit_requirements(config: Mapping[str, Any]) -> str | None:
    """Read the kit's ``requirements.txt``; None when it has none."""
    try:
        return Path(config["kit_dir"], "requirements.txt").read_text()
    except (OSError, KeyError):
        return None


def _site_key(config: Mapping[str, Any]) -> str:
    words = f"{config.get('event', '')}\0{config.get('work_dir', '')}"
    return hashlib.sha256(words.encode()).hexdigest()[:16]
