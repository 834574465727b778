"""The parent of dispatchers: one for each deployed event, started again when it dies.

A dispatcher's output goes to ``logs_dir/dispatcher.log``, never into a pipe that somebody would
have to read. When the daemon ends, however it ends, its dispatchers are told to stop.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ramp_database import events
from ramp_database.bell import Bell
from ramp_database.session import Database
from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import RampError

logger = logging.getLogger(__name__)

#: Time between two looks at the events and their dispatchers, in seconds.
TURN_SECONDS = 1.0
#: The first and the longest wait before a dispatcher that died is started again, in seconds.
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 300.0
#: A dispatcher that lived so long starts anew with the first delay, in seconds.
HEALTHY_SECONDS = 60.0
#: Time between two looks at an event for which no dispatcher can be started, in seconds.
LOOK_SECONDS = 3.0
#: How long a shutdown waits for the dispatchers, in seconds.
SHUTDOWN_SECONDS = 45.0

_PR_SET_PDEATHSIG = 1


class Process(Protocol):
    """What the daemon does with a process; `subprocess.Popen` is one."""

    pid: int
    returncode: int | None

    def poll(self) -> int | None:
        """Give the exit code once it has ended."""

    def terminate(self) -> None:
        """Ask it to end."""

    def kill(self) -> None:
        """End it."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; `subprocess.TimeoutExpired` when that takes longer."""


#: Starts the dispatcher of an event.
Start = Callable[[EventConfig, Sequence[str]], Process]


@dataclass
class _Child:
    """The dispatcher of one event, running or to be started again."""

    event_config: Path
    process: Process | None = None
    started_at: float = 0.0
    delay_seconds: float = FIRST_DELAY_SECONDS
    not_before: float = 0.0
    problem: str = field(default="")


class Daemon:
    """Keep a dispatcher running for each deployed event.

    Parameters
    ----------
    database : Database
    events_dir : Path
        Holds ``<event>/config.yml``. New folders are seen while the daemon runs.
    config : Path or None
        The deployment's config.yml, handed on to the dispatchers.
    clock : callable
        Monotonic seconds; tests move it.
    start : callable
        Starts a process, given the event and the command; tests put their own in place.
    """

    def __init__(
        self,
        database: Database,
        events_dir: Path,
        config: Path | None,
        clock: Callable[[], float] = time.monotonic,
        start: Start | None = None,
    ) -> None:
        self._database = database
        self._events_dir = events_dir
        self._config = config
        self._clock = clock
        self._start = start or start_dispatcher
        self._children: dict[Path, _Child] = {}
        self._bell = Bell()
        self._is_ending = False

    def stop(self) -> None:
        """Ask the loop to end; safe in a signal handler."""
        self._is_ending = True
        self._bell.ring()

    def run(self) -> None:
        """Start and restart dispatchers until told to stop; then stop them all and wait."""
        try:
            while not self._is_ending:
                self.turn()
                self._bell.wait(TURN_SECONDS)
        finally:
            self._shut_down()

    def turn(self) -> None:
        """Look once at the events and at the dispatchers."""
        for path in sorted(self._events_dir.glob("*/config.yml")):
            self._children.setdefault(path, _Child(path))
        for path, child in list(self._children.items()):
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
            if child.process is None and not path.exists():
                del self._children[path]
            elif child.process is None and self._clock() >= child.not_before:
                self._try_to_start(child)

    @property
    def processes(self) -> list[Process]:
        """The dispatchers that run."""
        return [child.process for child in self._children.values() if child.process is not None]

    def _bury(self, child: _Child) -> None:
        process = child.process
        assert process is not None  # noqa: S101  the caller looked
        now = self._clock()
        if now - child.started_at >= HEALTHY_SECONDS:
            child.delay_seconds = FIRST_DELAY_SECONDS
        logger.warning(
            "a dispatcher ended with code %s; another starts in %g s",
            process.returncode,
            child.delay_seconds,
            extra={"event_config": str(child.event_config)},
        )
        child.process = None
        child.not_before = now + child.delay_seconds
        child.delay_seconds = min(child.delay_seconds * 2, LONGEST_DELAY_SECONDS)

    def _try_to_start(self, child: _Child) -> None:
        """Start a dispatcher if its event is deployed; a problem of one event harms no other."""
        try:
            event = load_event(child.event_config, self._deployment_dir)
            with self._database.session(read_only=True) as session:
                events.get_event(session, event.ramp.event_name)
            child.process = self._start(event, self._command(child.event_config))
        except (RampError, OSError) as error:
            if child.problem != str(error):
                logger.error("no dispatcher for %s: %s", child.event_config, error)
            child.problem = str(error)
            child.not_before = self._clock() + LOOK_SECONDS
        else:
            child.started_at = self._clock()
            child.problem = ""
            logger.info("started dispatcher %d of %s", child.process.pid, event.ramp.event_name)

    @property
    def _deployment_dir(self) -> Path | None:
        return self._config.resolve().parent if self._config else None

    def _command(self, event_config: Path) -> Sequence[str]:
        config = ["--config", str(self._config)] if self._config else []
        launch = ["launch", "dispatcher", "-v", "--stay", "--event-config", str(event_config)]
        return [sys.executable, "-m", "ramp_engine", *launch, *config]

    def _shut_down(self) -> None:
        processes = self.processes
        for process in processes:
            process.terminate()
        deadline = self._clock() + SHUTDOWN_SECONDS
        for process in processes:
            try:
                process.wait(max(0.1, deadline - self._clock()))
            except subprocess.TimeoutExpired:
                logger.error("dispatcher %d does not end; killing it", process.pid)
                process.kill()
                process.wait()


def start_dispatcher(event: EventConfig, command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a dispatcher that ends in order when the calling process dies, however it does.

    Parameters
    ----------
    event : EventConfig
    command : sequence of str
    """
    parent = os.getpid()

    def end_with_parent() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died in between: no signal will come
            os.kill(os.getpid(), signal.SIGTERM)

    event.ramp.logs_dir.mkdir(parents=True, exist_ok=True)
    with (event.ramp.logs_dir / "dispatcher.log").open("ab") as log:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=end_with_parent,
        )
