"""The fold servers of a node: some for each environment, confinement, number of threads, bundle."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation.scratch import SERVERS, sweep
from ramp_engine.fold_process import fold_servers
from ramp_engine.remote.node.preparing import Prepared
from ramp_engine.step_servers import StepServers

__all__ = ["Shelf", "ShelfKey"]

logger = logging.getLogger(__name__)

#: Servers that nobody has needed for so long are closed, in seconds.
IDLE_SECONDS = 1800.0


class ShelfKey(NamedTuple):
    """What folds that are forked from one server have in common."""

    python: Path
    level: str
    uid: int | None
    gid: int | None
    n_threads: int
    bundle: Path


@dataclass
class _Held:
    servers: StepServers
    closing: contextlib.ExitStack
    n_uses: int = 0
    used_at: float = field(default_factory=time.monotonic)


class Shelf:
    """All fold servers of an agent; closed by `close`.

    Parameters
    ----------
    folder : Path
        Where they work; what others left there is removed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[ShelfKey, _Held] = {}
        self._is_closed = False
        sweep(folder, SERVERS)

    @contextlib.contextmanager
    def using(
        self, prepared: Prepared, n_threads: int, bundle: Path
    ) -> Iterator[StepServers | None]:
        """Keep servers within the block; None: runs have to start cold."""
        held = self._get(prepared, n_threads, bundle)
        if held is None:
            yield None
            return
        try:
            yield held.servers
        finally:
            with self._lock:
                held.n_uses -= 1
                held.used_at = time.monotonic()

    def _get(self, prepared: Prepared, n_threads: int, bundle: Path) -> _Held | None:
        sandbox = prepared.sandbox
        if not sandbox.holds_apart:
            return None
        who = (sandbox.level, sandbox.uid, sandbox.gid)
        key = ShelfKey(prepared.python, *who, n_threads, bundle)
        with self._lock:
            if self._is_closed:
                return None
            try:
                held = self._held.get(key) or self._open(key)
            except OSError as error:
                logger.warning("runs start cold: no room for a fold server: %s", error)
                return None
            held.n_uses += 1
        return held

    def _open(self, key: ShelfKey) -> _Held:
        closing = contextlib.ExitStack()
        who = {"level": key.level, "uid": key.uid, "gid": key.gid}
        opened = fold_servers(key.python, self._folder, key.n_threads, who)
        held = self._held[key] = _Held(closing.enter_context(opened), closing)
        return held

    def bundles(self) -> set[Path]:
        """List the bundles that servers hold."""
        with self._lock:
            return {key.bundle for key in self._held}

    def close_idle(self) -> None:
        """Close what nobody has needed for long."""
        now = time.monotonic()
        with self._lock:
            keys = [
                key
                for key, held in self._held.items()
                if not held.n_uses and now - held.used_at > IDLE_SECONDS
            ]
            idle = [self._held.pop(key) for key in keys]
        _close(idle)

    def close(self) -> None:
        """Close all, with the runs that were forked from them."""
        with self._lock:
            self._is_closed = True
            held = list(self._held.values())
            self._held.clear()
        _close(held)


def _close(shelves: list[_Held]) -> None:
    for held in shelves:
        try:
            held.closing.close()
        except (OSError, WorkerSetupError) as error:
            logger.warning("a fold server cannot be closed: %s", error)
