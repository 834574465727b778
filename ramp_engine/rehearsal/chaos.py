"""The faults of a rehearsal, each at its point of progress; one may come while another lasts."""

from __future__ import annotations

import logging
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from sqlalchemy import select

from ramp_database.model import Dispatcher
from ramp_engine.errors import DatabaseError
from ramp_engine.rehearsal import troubles
from ramp_engine.rehearsal.crew import Crew
from ramp_engine.rehearsal.plan import Fault, FaultKind
from ramp_engine.rehearsal.stage import Stage, end_connections

__all__ = ["Chaos"]

logger = logging.getLogger(__name__)

#: How long a trouble stays, in seconds.
TROUBLE_SECONDS = 1.0
#: How long somebody keeps SQLite's lock, in seconds.
LOCK_SECONDS = 1.5
#: How long one try to get that lock may take, in seconds.
TRY_SECONDS = 0.5
#: A paused dispatcher goes on after so many stale limits even when nobody took it for dead.
_PATIENCE_IN_STALE_LIMITS = 3.0


class _Mischief(ABC):
    """A fault that is under way."""

    def __init__(self, stage: Stage, crew: Crew, fault: Fault) -> None:
        self._stage = stage
        self._crew = crew
        self._fault = fault
        self._began_at = time.monotonic()

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began_at

    @abstractmethod
    def begin(self) -> str | None:
        """Do it, and say what was done; None when that is not possible just now."""

    def is_over(self) -> bool:
        """Tell whether it is time to undo it."""
        return True

    def end(self) -> None:  # noqa: B027  most have nothing to undo
        """Undo it; called once, whatever happened since."""


class _Kill(_Mischief):
    def begin(self) -> str | None:
        if not self._crew.n_running:
            return None
        return f"killed dispatcher process {self._crew.kill(self._fault.victim)}"


class _Pause(_Mischief):
    def begin(self) -> str | None:
        if self._crew.n_running < 2:
            return None  # nobody would notice
        self._pid = self._crew.pause(self._fault.victim)
        return f"paused dispatcher process {self._pid} until it is taken for dead"

    def is_over(self) -> bool:
        limit = self._stage.event.dispatcher.stale_after_seconds * _PATIENCE_IN_STALE_LIMITS
        if self._seconds > limit:
            return True
        query = select(Dispatcher.id).where(
            Dispatcher.pid == self._pid, Dispatcher.ended_at.is_(None)
        )
        try:
            with self._stage.database.session(read_only=True) as session:
                return session.scalar(query) is None
        except DatabaseError:
            return False  # a paused one may hold SQLite's lock

    def end(self) -> None:
        self._crew.resume()


class _Cut(_Mischief):
    """On SQLite there is no connection to break: somebody keeps the lock of the file instead."""

    _lock: sqlite3.Connection | None = None

    def begin(self) -> str | None:
        if self._stage.is_postgresql:
            return self._break_connections()
        path = str(self._stage.database.engine.url.database)
        lock = sqlite3.connect(path, isolation_level=None, timeout=TRY_SECONDS)
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:  # a dispatcher that is paused may hold it
            lock.close()
            return None
        self._lock, self._began_at = lock, time.monotonic()
        return f"keeping the database locked for {LOCK_SECONDS:g} s"

    def _break_connections(self) -> str | None:
        try:
            end_connections(self._stage.database, self._stage.name)
        except DatabaseError:  # over one that was broken the last time: the next is a new one
            return None
        return "broke all connections to the database"

    def is_over(self) -> bool:
        return self._lock is None or self._seconds > LOCK_SECONDS

    def end(self) -> None:
        if self._lock is not None:
            self._lock.close()


class _Trouble(_Mischief):
    """Something that the dispatchers do to themselves while a file says so."""

    name: str
    words: str

    def begin(self) -> str | None:
        (self._stage.troubles_dir / self.name).touch()
        return f"{self.words} for {TROUBLE_SECONDS:g} s"

    def is_over(self) -> bool:
        return self._seconds > TROUBLE_SECONDS

    def end(self) -> None:
        (self._stage.troubles_dir / self.name).unlink(missing_ok=True)


class _Refuse(_Trouble):
    name, words = troubles.REFUSING, "the database refuses one statement in three"


class _Disk(_Trouble):
    name, words = troubles.DISK_FULL, "the disk is full"


_MISCHIEF: dict[FaultKind, type[_Mischief]] = {
    FaultKind.KILL: _Kill,
    FaultKind.PAUSE: _Pause,
    FaultKind.CUT: _Cut,
    FaultKind.REFUSE: _Refuse,
    FaultKind.DISK: _Disk,
}


class Chaos:
    """Let the planned faults happen.

    Parameters
    ----------
    stage : Stage
    crew : Crew
    faults : sequence of Fault
        In their order.
    tell : callable
        Gets a line about each fault.

    Attributes
    ----------
    told : list of str
        What has happened until now.
    """

    def __init__(
        self, stage: Stage, crew: Crew, faults: Sequence[Fault], tell: Callable[[str], None]
    ) -> None:
        self.told: list[str] = []
        self._stage = stage
        self._crew = crew
        self._left = list(faults)
        self._tell = tell
        self._current: dict[FaultKind, _Mischief] = {}

    @property
    def is_over(self) -> bool:
        """Whether all faults have come and gone."""
        return not self._left and not self._current

    @property
    def is_busy(self) -> bool:
        """Whether a fault is under way."""
        return bool(self._current)

    def turn(self, share: float) -> None:
        """End the faults whose time has come, and begin those that are due, in their order.

        Parameters
        ----------
        share : float
            Of the submissions that have ended.
        """
        for kind, mischief in list(self._current.items()):
            if mischief.is_over():
                self._end(kind)
        while self._left and share >= self._left[0].at_share and self._try_to_begin(self._left[0]):
            self._left.pop(0)

    def _try_to_begin(self, fault: Fault) -> bool:
        mischief = _MISCHIEF[fault.kind](self._stage, self._crew, fault)
        told = None if fault.kind in self._current else mischief.begin()
        if told is None:
            return False
        self._current[fault.kind] = mischief
        self.told.append(told)
        self._tell(told)
        return True

    def stop(self) -> None:
        """Undo the faults that are under way."""
        for kind in list(self._current):
            self._end(kind)

    def _end(self, kind: FaultKind) -> None:
        self._current.pop(kind).end()
