"""The warm processes from which a dispatcher has predictions scored."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

from ramp_engine.config import EventConfig
from ramp_engine.preparation import scratch_dir
from ramp_engine.step_server import ServedProcess, StepCall
from ramp_engine.step_servers import StepServers, step_servers
from ramp_engine.supervised import inherited_environment

__all__ = ["ScoreServers"]


class ScoreServers:
    """The score servers of a dispatcher, the first of which is started at the first need.

    Parameters
    ----------
    event : EventConfig
    """

    def __init__(self, event: EventConfig) -> None:
        self._event = event
        self._lock = threading.Lock()
        self._resources = contextlib.ExitStack()
        self._servers: StepServers | None = None

    def close(self) -> None:
        """End them; may be called again."""
        self._resources.close()

    def prepare(self, python: Path, bundle: Path) -> None:
        """Have one ready soon.

        Parameters
        ----------
        python : Path
            The interpreter of the trusted steps.
        bundle : Path
            The public half.
        """
        servers = self._opened(python)
        if servers is not None:
            servers.prepare(bundle)

    def start(
        self, python: Path, bundle: Path, call: StepCall, stopping: threading.Event | None
    ) -> ServedProcess | None:
        """Start a run; None: the caller starts it cold. As `StepServers.start`."""
        servers = self._opened(python)
        return None if servers is None else servers.start(bundle, call, stopping)

    def _opened(self, python: Path) -> StepServers | None:
        """Return the servers; None where they are not wanted, or the disk refuses."""
        if not self._event.evaluation.fold_server:
            return None
        with self._lock, contextlib.suppress(OSError):
            if self._servers is None:
                opened = step_servers(
                    python, "score", scratch_dir(self._event), lambda *_: inherited_environment()
                )
                self._servers = self._resources.enter_context(opened)
            return self._servers
        return None
