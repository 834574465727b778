"""The fold servers of a dispatcher: started in the background, renewed, ended.

A server is a convenience: whatever is wrong with one, a run starts cold, and the log says why.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ramp_engine.errors import WorkerSetupError
from ramp_engine.fold_server import FoldServer, ServedProcess, StepCall

__all__ = ["FoldServers"]

logger = logging.getLogger(__name__)

#: A server that nobody has needed for so long ends, in seconds.
IDLE_SECONDS = 1800.0
#: So many servers in a row that are never ready: no more are tried.
MAX_FAILURES = 3


class FoldServers:
    """The fold servers of one dispatcher: one at a time, made in the background, renewed.

    Parameters
    ----------
    make : callable
        Starts a server for a bundle.
    """

    def __init__(self, make: Callable[[Path], FoldServer]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._bundle: Path | None = None
        self._server: FoldServer | None = None
        self._retired: list[FoldServer] = []
        self._n_failures = 0
        self._is_closed = False
        self._used_at = time.monotonic()
        self._idle: threading.Timer | None = None

    def prepare(self, bundle: Path) -> FoldServer | None:
        """Have a server for a bundle in the background, soon.

        Parameters
        ----------
        bundle : Path
            The public half.

        Returns
        -------
        FoldServer or None
            It may not be ready yet; None: there is none to be had.
        """
        with self._lock:
            self._look_after(bundle)
            return self._server

    def start(self, bundle: Path, call: StepCall) -> ServedProcess | None:
        """Start a run; None: the caller starts it cold.

        Parameters
        ----------
        bundle : Path
            The public half.
        call : StepCall
        """
        server = self.prepare(bundle)
        if server is None or not server.is_ready:
            return None
        run = server.start(call)
        if run is None:
            logger.warning("a fold server does not answer; runs start cold until there is another")
            with self._lock:
                if self._server is server:
                    self._server = None
            server.end()
        return run

    def close(self) -> None:
        """End all servers, with the runs that were forked from them."""
        with self._lock:
            self._is_closed = True
            if self._idle is not None:
                self._idle.cancel()
            servers = [*self._retired, *([] if self._server is None else [self._server])]
            self._server, self._retired = None, []
        for server in servers:
            server.end()

    def _look_after(self, bundle: Path) -> None:
        """See to it that there is a server that may be used, or that one is on its way."""
        self._used_at = time.monotonic()
        self._forget_ended()
        server = self._server
        if server is not None and server.has_failed:
            self._n_failures = 0 if server.n_runs else self._n_failures + 1
            logger.warning("a fold server has ended by itself: %s", server.last_words)
            server.end()
            self._server = None
        elif server is not None:
            reason = "" if self._bundle == bundle else "the event was deployed anew"
            reason = reason or server.reason_to_renew()
            if reason:
                logger.info("a fold server is renewed: %s", reason)
                self._retire()
        if self._server is None and not self._is_closed and self._n_failures < MAX_FAILURES:
            self._launch(bundle)

    def _launch(self, bundle: Path) -> None:
        try:
            self._server = self._make(bundle)
        except WorkerSetupError as error:
            self._n_failures += 1
            logger.warning("runs start cold: %s", error)
            return
        self._bundle = bundle
        self._watch_idleness(IDLE_SECONDS)

    def _retire(self) -> None:
        if self._server is not None:
            self._server.retire()
            self._retired.append(self._server)
            self._server = None

    def _forget_ended(self) -> None:
        for server in [one for one in self._retired if one.has_failed]:
            server.end()
            self._retired.remove(server)

    def _watch_idleness(self, seconds: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = threading.Timer(seconds, self._end_when_idle)
        self._idle.daemon = True
        self._idle.start()

    def _end_when_idle(self) -> None:
        with self._lock:
            left = self._used_at + IDLE_SECONDS - time.monotonic()
            if self._is_closed or self._server is None:
                return
            if left > 0:
                self._watch_idleness(left)
                return
            logger.info("a fold server that nobody needs ends")
            self._retire()
