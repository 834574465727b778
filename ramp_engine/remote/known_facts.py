"""What is known of the nodes of a cluster, also while there are none."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.remote.gateway.requests import kit_requirements

__all__ = ["KnownFacts"]

_NAMES = ("level", "environment")


class KnownFacts:
    """Keep what a gateway tells of its nodes, also for the next dispatcher.

    Parameters
    ----------
    config : mapping
        Of the worker.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._path = Path(config["work_dir"], "cluster.json")
        requirements = kit_requirements(config) or ""
        self._kit = hashlib.sha256(requirements.encode()).hexdigest()
        self._facts = self._read()

    def __getitem__(self, name: str) -> str:
        """Give ``level`` or ``environment``; empty while no node has ever told of itself."""
        return self._facts.get(name, "")

    def note(self, facts: Mapping[str, Any]) -> None:
        """Note what is known; without any node, what was known of those before stays."""
        fresh = {name: str(facts[name]) for name in _NAMES if facts.get(name)}
        if self._facts | fresh == self._facts:
            return
        self._facts = self._facts | fresh
        staged = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk costs the next dispatcher what is done
            staged.write_text(json.dumps({"kit": self._kit, **self._facts}))
            staged.replace(self._path)

    def _read(self) -> dict[str, str]:
        """Read what an earlier dispatcher has noted of the same kit's environment."""
        try:
            noted = json.loads(self._path.read_text())
            if noted["kit"] != self._kit:
                return {}
            return {name: str(noted[name]) for name in _NAMES if noted.get(name)}
        except (OSError, ValueError, KeyError, TypeError):
            return {}
