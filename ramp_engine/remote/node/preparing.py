"""The interpreter and the confinement of folds on this node: found, or made, once."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ramp_engine.environments import python_for_worker
from ramp_engine.errors import RampError
from ramp_engine.remote.node.made_environments import MadeEnvironments
from ramp_engine.remote.node.place import Place
from ramp_engine.remote.node.refusal import Refusal, refused
from ramp_engine.sandbox import Sandbox, SandboxKeys, find_sandbox
from ramp_engine.sandbox.settings import LEAST_MEMORY_MB

__all__ = ["Preparations", "Prepared"]

logger = logging.getLogger(__name__)

#: What could not be made ready is not tried again for so long, in seconds.
PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Prepared:
    """How folds of a kind run here."""

    python: Path
    sandbox: Sandbox
    keys: SandboxKeys

    def spec(self, memory_mb: float | None, n_slots: int) -> dict[str, Any]:
        """Give what the fold step is told of its confinement.

        Parameters
        ----------
        memory_mb : float or None
            What the engine was asked for; it stands for a limit that says ``auto``.
        n_slots : int
            So many folds share the node.
        """
        keys = self.keys
        if memory_mb is not None and keys.limits.memory_mb == "auto":
            amount = max(LEAST_MEMORY_MB, memory_mb)
            limits = keys.limits.model_copy(update={"memory_mb": amount})
            keys = keys.model_copy(update={"limits": limits})
        return self.sandbox.spec(keys, n_slots)


class Preparations:
    """What was made ready on this node, for the specs that have come.

    Parameters
    ----------
    place : Place
    """

    def __init__(self, place: Place) -> None:
        self._place = place
        self._lock = threading.Lock()
        self._made = MadeEnvironments(place.environments)
        self._known: dict[str, tuple[Future[Prepared], float]] = {}

    def get(self, spec: Mapping[str, Any]) -> Future[Prepared]:
        """Make ready what a spec asks for, unless that was done before.

        Returns
        -------
        Future
            Raises `Refusal` where that is impossible.
        """
        wanted = {"environment": spec.get("environment") or {}, "keys": spec.get("keys") or {}}
        key = json.dumps(wanted, sort_keys=True)
        with self._lock:
            prepared, since = self._known.get(key, (None, 0.0))
            is_old = time.monotonic() - since > PATIENCE_SECONDS
            if prepared is None or (prepared.done() and prepared.exception() and is_old):
                prepared = Future()
                self._known[key] = (prepared, time.monotonic())
                arguments = (prepared, wanted)
                threading.Thread(target=self._prepare, args=arguments, daemon=True).start()
        return prepared

    def _prepare(self, future: Future[Prepared], wanted: dict[str, Any]) -> None:
        try:
            keys = SandboxKeys.model_validate(wanted["keys"])
            python = self._python(wanted["environment"])
            future.set_result(Prepared(python, find_sandbox(python, keys), keys))
        except ValidationError as error:
            reason = f"the keys of the sandbox make no sense: {error}"
            future.set_exception(Refusal("setup", reason))
        except (RampError, OSError) as error:
            logger.warning("folds cannot run here: %s", error)
            future.set_exception(refused(error, self._place.home))

    def _python(self, environment: Mapping[str, Any]) -> Path:
        requirements = environment.get("requirements")
        if requirements is None:
            return python_for_worker(environment, self._place.root)
        return self._made.make(str(requirements))
