"""How a run on an instance stands, asked now and then over a connection that may break."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol

from ramp_engine.aws.instances import ENDED
from ramp_engine.aws.station import Report
from ramp_engine.errors import RampError, TransportError

__all__ = ["RunWatch", "Station"]

logger = logging.getLogger(__name__)

#: The longest time between two tries to reach an instance that does not answer, in seconds.
MAX_BACK_OFF_SECONDS = 30.0
#: So much of a log is taken while a run goes on, in bytes; the rest comes with the results.
MAX_LOG_BYTES = 64 << 20


class Station(Protocol):
    """What is asked about the run."""

    def status(self, run: str, log_offset: int | None, done: Collection[int]) -> Report:
        """Ask once; see `ramp_engine.aws.station.Station`."""


class RunWatch:
    """Watch a run; used by one thread.

    Parameters
    ----------
    station : Station
    run : str
        Its id.
    log : Path
        Gets what the run prints, as it comes.
    state : callable
        Gives the state of the instance as EC2 told it last; it makes no call.
    seconds : float
        Between two questions.
    patience_seconds : float
        An instance that does not answer for so long is lost.
    clock : callable
        Monotonic seconds.

    Attributes
    ----------
    returncode : int or None
        Of the run; None before its end.
    interruption, loss : str
        Why the run was interrupted through no fault of its own, and why it was lost; or empty.
    has_full_disk : bool
        Whether the run has left the instance's disk full.
    notice : str
        Why the instance will soon be taken away; or empty.
    done : set of int
        Folds that are done there.
    """

    def __init__(
        self,
        station: Station,
        run: str,
        log: Path,
        state: Callable[[], str],
        *,
        seconds: float,
        patience_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.returncode: int | None = None
        self.interruption = ""
        self.loss = ""
        self.has_full_disk = False
        self.notice = ""
        self.done: set[int] = set()
        self._station = station
        self._run = run
        self._log = log
        self._state = state
        self._seconds = seconds
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._n_log_bytes = 0
        self._next_at = clock()
        self._silent_since: float | None = None
        self._back_off_seconds = 1.0

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of the run."""
        return self.returncode is not None or bool(self.interruption or self.loss)

    @property
    def is_reachable(self) -> bool:
        """Whether the instance has answered the last question."""
        return self._silent_since is None and self._state() not in ENDED

    @property
    def is_well(self) -> bool:
        """Whether the instance can serve others after this run."""
        return self.is_reachable and not (self.loss or self.interruption or self.notice)

    def look(self) -> None:
        """Ask how the run stands, unless that was done just now; never raises."""
        if self.is_over or self._clock() < self._next_at:
            return
        self._next_at = self._clock() + self._seconds
        if self._note_end_of_instance():
            return
        try:
            offset = self._n_log_bytes if self._n_log_bytes < MAX_LOG_BYTES else None
            self._take(self._station.status(self._run, offset, self.done))
        except TransportError as error:
            self._note_silence(error)
        except RampError as error:
            self.loss = str(error)

    def _take(self, report: Report) -> None:
        if self._silent_since is not None:
            logger.info("the instance of run %s answers again", self._run)
        self._silent_since, self._back_off_seconds = None, 1.0
        self._keep(report.log)
        self.done.update(report.done)
        self.notice = report.notice or self.notice
        if report.state == "unknown":
            self.loss = "the instance knows nothing of the run any more: was it started anew?"
        elif report.killed_by is not None:
            self.loss = report.reason or f"the run was ended by {report.killed_by}"
        elif report.state == "ended":
            self.returncode = report.returncode
            self.has_full_disk = report.disk_is_full
        elif report.notice:
            self.interruption = f"the spot instance is taken away: {report.notice}"

    def _keep(self, log: bytes) -> None:
        """Add to the log; what the disk refuses is missing there until the run is collected."""
        piece = log[: MAX_LOG_BYTES - self._n_log_bytes]
        try:
            with self._log.open("ab") as file:
                file.write(piece)
        except OSError as error:
            logger.warning("the log of run %s has a gap: %s", self._run, error)
        self._n_log_bytes += len(piece)

    def _note_silence(self, error: TransportError) -> None:
        """Decide what it means that the instance has not answered."""
        if self._note_end_of_instance():
            return
        now = self._clock()
        if not error.is_retryable:
            self.loss = str(error)
        elif self._silent_since is None:
            logger.warning("the instance of run %s does not answer: %s", self._run, error)
            self._silent_since = now
        elif now - self._silent_since >= self._patience_seconds:
            seconds = now - self._silent_since
            self.loss = f"the instance has not answered for {seconds:.0f} s: {error}"
        self._next_at = now + self._back_off_seconds
        self._back_off_seconds = min(2 * self._back_off_seconds, MAX_BACK_OFF_SECONDS)

    def _note_end_of_instance(self) -> bool:
        state = self._state()
        if state in ENDED:
            self.interruption = f"the instance is gone: EC2 calls it {state}"
        return state in ENDED
