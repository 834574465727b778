"""Proof that a dispatcher lives, given from a thread and a connection of its own.

It stops when the dispatcher's loop has not turned for ``stalled_after_seconds``: a process whose
loop hangs is as good as dead, and another dispatcher shall take over its submissions.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ramp_engine.errors import DatabaseError

logger = logging.getLogger(__name__)


class Heartbeat:
    """Call `beat` regularly for as long as the loop turns.

    Parameters
    ----------
    beat : callable
        Writes the sign of life; returns False when the dispatcher was declared dead meanwhile.
        Its database errors are logged, and the next beat tries again.
    seconds : float
        Time between two beats.
    stalled_after_seconds : float
        Without a call of `turned` for so long, the heart stops until there is one.
    on_lost : callable
        Called from the heartbeat's thread each time that `beat` returned False.
    clock : callable
        Monotonic seconds; tests move it.
    """

    def __init__(
        self,
        beat: Callable[[], bool],
        *,
        seconds: float,
        stalled_after_seconds: float,
        on_lost: Callable[[], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._beat = beat
        self._seconds = seconds
        self._stalled_after_seconds = stalled_after_seconds
        self._on_lost = on_lost
        self._clock = clock
        self._turned_at = clock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop; a beat that hangs in the database is not waited for."""
        self._ending.set()
        self._thread.join(timeout=self._seconds)

    @property
    def is_stalled(self) -> bool:
        """Whether the loop has not turned for too long."""
        return self._clock() - self._turned_at > self._stalled_after_seconds

    def turned(self) -> None:
        """Say that the loop has turned once more."""
        self._turned_at = self._clock()

    def pulse(self) -> bool:
        """Beat once, unless the loop has stalled.

        Returns
        -------
        bool
            False when the dispatcher was declared dead by another.
        """
        if self.is_stalled:
            logger.error("the dispatcher's loop has stalled: no heartbeat until it turns again")
            return True
        try:
            return self._beat()
        except DatabaseError as error:
            logger.warning("heartbeat failed, will try again", extra={"reason": str(error)})
            return True

    def _run(self) -> None:
        while not self._ending.wait(self._seconds):
            if not self.pulse():
                self._on_lost()
