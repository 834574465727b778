"""The parent of dispatchers: one for each deployed event that needs one.

A dispatcher is started when its event opens or something of it is to be evaluated, started again
when it dies, and ended some time after the event closed and its last submission was evaluated; see
`ramp_engine.need`. While the database is away, those that run stay.

A dispatcher's output goes to ``logs_dir/dispatcher.log``, never into a pipe that somebody would
have to read. When the daemon ends, however it ends, its dispatchers are told to stop.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ramp_database.bell import Bell
from ramp_database.schedule import EventSchedule, schedules
from ramp_database.session import Database
from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import DatabaseError, NotFoundError, RampError
from ramp_engine.need import Need, need_of
from ramp_engine.reaping import Place, Reaping

logger = logging.getLogger(__name__)

#: Time between two looks at the dispatchers and the events' folders, in seconds.
TURN_SECONDS = 1.0
#: Time between two looks at the database, in seconds.
LOOK_SECONDS = 3.0
#: How long a dispatcher is kept after the closing time and the last open submission, in seconds.
LINGER_SECONDS = 300.0
#: The first and the longest wait before a dispatcher that died is started again, in seconds.
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 1.0, 300.0
#: A dispatcher that lived so long starts anew with the first delay, in seconds.
HEALTHY_SECONDS = 60.0
#: How long a dispatcher that is told to end may take, in seconds.
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
    """The dispatcher of one event: it runs, or may be started."""

    event_config: Path
    event: EventConfig | None = None  #: as it was read last; None: it cannot be read
    version: tuple[int, int, int] | None = None  #: of the file that was read
    need: Need | None = None  #: None: not known
    busy_at: float = -math.inf  #: when a submission was last seen open
    process: Process | None = None
    started_at: float = 0.0
    kill_at: float | None = None  #: set when it was told to end
    delay_seconds: float = FIRST_DELAY_SECONDS
    not_before: float = 0.0
    problem: str = ""  #: the last that was told
    reaping: Reaping | None = None  #: while it runs, this is its own affair

    @property
    def label(self) -> str:
        """The name of the event, or the path of its file."""
        return str(self.event_config) if self.event is None else self.event.ramp.event_name


class Daemon:
    """Keep a dispatcher running for each deployed event that needs one.

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
    linger_seconds : float
        How long a dispatcher is kept after the closing time and the last open submission.
    """

    def __init__(
        self,
        database: Database,
        events_dir: Path,
        config: Path | None,
        clock: Callable[[], float] = time.monotonic,
        start: Start | None = None,
        *,
        linger_seconds: float = LINGER_SECONDS,
    ) -> None:
        self._database = database
        self._events_dir = events_dir
        self._config = config
        self._clock = clock
        self._start = start or start_dispatcher
        self._linger_seconds = linger_seconds
        self._children: dict[Path, _Child] = {}
        self._look_at = -math.inf
        self._trouble = ""  # why the database could not be asked last time
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
        """Look once at the dispatchers, and when it is time at the events."""
        for child in self._children.values():
            if child.process is not None and child.process.poll() is not None:
                self._bury(child)
        if self._find() or self._clock() >= self._look_at:
            self._look()
        for child in self._children.values():
            self._tend(child)

    @property
    def processes(self) -> list[Process]:
        """The dispatchers that run."""
        return [child.process for child in self._children.values() if child.process is not None]

    def _find(self) -> bool:
        """Find the events' files; tell whether there are new ones."""
        found = set(self._events_dir.glob("*/config.yml"))
        for path in [path for path in self._children if path not in found]:
            if self._children[path].process is None:
                del self._children[path]
        new = sorted(found - self._children.keys())
        self._children |= {path: _Child(path) for path in new}
        return bool(new)

    def _look(self) -> None:
        """Ask the database what the events need; while it is away nothing starts and nothing ends.

        One query for all events.
        """
        self._look_at = self._clock() + LOOK_SECONDS
        try:
            with self._database.session(read_only=True) as session:
                found = schedules(session)
        except DatabaseError as error:
            if self._trouble != str(error):
                logger.warning("nothing is started or ended until the database answers: %s", error)
            self._trouble = str(error)
            for child in self._children.values():
                child.need = None
                if child.reaping is not None:
                    child.reaping.doubt()
            return
        if self._trouble:
            logger.warning("the database answers again")
            self._forgive()
        self._trouble = ""
        for child in self._children.values():
            self._learn(child, found)

    def _forgive(self) -> None:
        """Let those start at once that could not without the database."""
        for child in self._children.values():
            child.delay_seconds, child.not_before = FIRST_DELAY_SECONDS, -math.inf

    def _learn(self, child: _Child, found: dict[str, EventSchedule]) -> None:
        """Find out what an event needs; a problem of one harms no other and is told once."""
        try:
            event = self._read(child)
            name = event.ramp.event_name
            if name not in found:
                hint = "Deploy it with `ramp setup deploy-event`"
                raise NotFoundError("event", name, sorted(found), hint)
        except (RampError, OSError) as error:
            child.need = None
            self._tell(child, error)
            return
        now = self._clock()
        if found[name].has_open:
            child.busy_at = now
        child.need = need_of(
            found[name],
            quiet_seconds=now - child.busy_at,
            linger_seconds=self._linger_seconds,
        )

    def _read(self, child: _Child) -> EventConfig:
        """Give the event's file as it is now; that of a dispatcher that runs as it was."""
        if child.process is not None and child.event is not None:
            return child.event
        status = child.event_config.stat()
        version = (status.st_ino, status.st_size, status.st_mtime_ns)
        if child.event is None or child.version != version:
            child.event = child.reaping = None
            child.event = load_event(child.event_config, self._deployment_dir)
            child.version = version
        return child.event

    def _tell(self, child: _Child, error: Exception) -> None:
        if child.problem != str(error):
            logger.error("no dispatcher for %s: %s", child.event_config, error)
        child.problem = str(error)

    def _tend(self, child: _Child) -> None:
        """Start or end a dispatcher where that is needed."""
        now = self._clock()
        if child.process is None:
            if child.need is not None and child.need.is_start and now >= child.not_before:
                self._try_to_start(child)
            if child.process is None and child.need is not None:
                self._reap(child)
        elif child.kill_at is not None:
            if now >= child.kill_at:
                logger.error("dispatcher %d does not end; killing it", child.process.pid)
                child.process.kill()
                child.kill_at = math.inf
        elif child.need is not None and child.need.is_end:
            logger.info(
                "ending dispatcher %d of %s: %s", child.process.pid, child.label, child.need
            )
            self._tell_to_end(child)

    def _reap(self, child: _Child) -> None:
        """End what dispatchers of an event that has none now have left."""
        if child.reaping is None:
            read = functools.partial(Place.read, child.event_config, self._deployment_dir)
            child.reaping = Reaping(self._database, read, self._clock)
        child.reaping.turn()

    def _bury(self, child: _Child) -> None:
        process, now = child.process, self._clock()
        assert process is not None  # noqa: S101  the caller looked
        if child.kill_at is not None or now - child.started_at >= HEALTHY_SECONDS:
            child.delay_seconds = FIRST_DELAY_SECONDS
        if child.kill_at is not None:
            logger.info("dispatcher %d of %s has ended", process.pid, child.label)
        else:
            logger.warning(
                "a dispatcher ended with code %s; if it is needed, another starts in %g s",
                process.returncode,
                child.delay_seconds,
                extra={"event_config": str(child.event_config)},
            )
            child.not_before = now + child.delay_seconds
            child.delay_seconds = min(child.delay_seconds * 2, LONGEST_DELAY_SECONDS)
        child.process = child.kill_at = None

    def _try_to_start(self, child: _Child) -> None:
        try:
            event = self._read(child)
            child.process = self._start(event, self._command(child.event_config))
        except (RampError, OSError) as error:
            self._tell(child, error)
            child.not_before = self._clock() + LOOK_SECONDS
        else:
            child.started_at = self._clock()
            child.problem = ""
            pid, need = child.process.pid, child.need
            logger.info("started dispatcher %d of %s: %s", pid, child.label, need)

    @property
    def _deployment_dir(self) -> Path | None:
        return self._config.resolve().parent if self._config else None

    def _command(self, event_config: Path) -> Sequence[str]:
        config = ["--config", str(self._config)] if self._config else []
        launch = ["launch", "dispatcher", "-v", "--stay", "--event-config", str(event_config)]
        return [sys.executable, "-m", "ramp_engine", *launch, *config]

    def _tell_to_end(self, child: _Child) -> None:
        """Tell a dispatcher to end, once: a second signal would end it at once."""
        if child.process is not None and child.kill_at is None:
            child.process.terminate()
            child.kill_at = self._clock() + SHUTDOWN_SECONDS

    def _shut_down(self) -> None:
        for child in self._children.values():
            self._tell_to_end(child)
        deadline = self._clock() + SHUTDOWN_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.1, deadline - self._clock()))
            except subprocess.TimeoutExpired:
                logger.error("dispatcher %d does not end; killing it", process.pid)
                process.kill()
                process.wait()


def start_dispatcher(
    event: EventConfig,
    command: Sequence[str],
    when_parent_dies: signal.Signals = signal.SIGTERM,
) -> subprocess.Popen[bytes]:
    """Start a dispatcher that ends when the calling process dies, however it does.

    Parameters
    ----------
    event : EventConfig
    command : sequence of str
    when_parent_dies : Signals
        What it gets then; by default it ends in order.
    """
    parent = os.getpid()

    def end_with_parent() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, when_parent_dies, 0, 0, 0)
        if os.getppid() != parent:  # it died in between: no signal will come
            os.kill(os.getpid(), when_parent_dies)

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
