"""The step servers of a dispatcher: started in the background, renewed, ended.

A server is a convenience: whatever is wrong with one, a run starts cold, and the log says why.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation.scratch import SERVERS, scratch_directory
from ramp_engine.step_server import ServedProcess, StepCall, StepServer

__all__ = ["StepServers", "step_servers"]

logger = logging.getLogger(__name__)

#: A run waits so long for a server that gets warm: starting cold would take as long, in seconds.
WARM_UP_SECONDS = 20.0
#: Time between two looks whether it is still wanted, in seconds.
LOOK_SECONDS = 0.2
#: A server that nobody has needed for so long ends, in seconds.
IDLE_SECONDS = 1800.0
#: So many servers in a row that are never ready: no more are tried.
MAX_FAILURES = 3


@contextlib.contextmanager
def step_servers(
    python: Path,
    step: str,
    scratch_dir: Path,
    environment: Callable[[Path, Path], Mapping[str, str]],
    options: Sequence[str] = (),
) -> Iterator[StepServers]:
    """Hold the servers of a dispatcher for one step; they end with the block, and their runs too.

    Parameters
    ----------
    python : Path
        The event's interpreter.
    step : str
        ``fold`` or ``score``.
    scratch_dir : Path
        Where they work; made when missing.
    environment : callable
        Gives all variables of a server that works in a folder, for a bundle.
    options : sequence of str
        Further options of a server's command.

    Raises
    ------
    OSError
        The disk refuses a folder.
    """
    numbers = itertools.count()
    with scratch_directory(scratch_dir, SERVERS) as root:

        def start(bundle: Path) -> StepServer:
            folder = root / str(next(numbers))
            return StepServer(python, step, bundle, folder, environment(folder, bundle), options)

        servers = StepServers(start)
        try:
            yield servers
        finally:
            servers.close()


class StepServers:
    """The servers of one dispatcher for one step: one at a time.

    Parameters
    ----------
    make : callable
        Starts a server for a bundle, given the public half.
    """

    def __init__(self, make: Callable[[Path], StepServer]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._bundle: Path | None = None
        self._server: StepServer | None = None
        self._retired: list[StepServer] = []
        self._n_failures = 0
        self._is_closed = False
        self._used_at = time.monotonic()
        self._idle: threading.Timer | None = None

    def prepare(self, bundle: Path) -> StepServer | None:
        """Have a server for a bundle in the background, soon.

        Parameters
        ----------
        bundle : Path
            The public half.

        Returns
        -------
        StepServer or None
            It may not be ready yet; None: there is none to be had.
        """
        with self._lock:
            self._look_after(bundle)
            return self._server

    def start(
        self, bundle: Path, call: StepCall, stopping: threading.Event | None = None
    ) -> ServedProcess | None:
        """Start a run; None: the caller starts it cold.

        Parameters
        ----------
        bundle : Path
            The public half.
        call : StepCall
        stopping : Event, optional
            When it is set, a server that gets warm is not waited for.
        """
        server = self.prepare(bundle)
        if server is None or not _is_warm(server, stopping):
            return None
        run = server.start(call)
        if run is None:
            logger.warning("a step server does not answer; runs start cold till there is another")
            with self._lock:
                if self._server is server:
                    self._retire()  # and not ended: runs that were forked from it go on
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
            logger.warning("a step server has ended by itself: %s", server.last_words)
            server.end()
            self._server = None
        elif server is not None:
            reason = "" if self._bundle == bundle else "the event was deployed anew"
            reason = reason or server.reason_to_renew()
            if reason:
                logger.info("a step server is renewed: %s", reason)
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
            logger.info("a step server that nobody needs ends")
            self._retire()


def _is_warm(server: StepServer, stopping: threading.Event | None) -> bool:
    """Wait for a server that gets warm; tell whether it has."""
    until = time.monotonic() + WARM_UP_SECONDS
    while not server.has_failed and time.monotonic() < until:
        if server.wait(LOOK_SECONDS):
            return True
        if stopping is not None and stopping.is_set():
            break
    return False
