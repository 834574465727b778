"""What is to be done later, by the thread that does everything else."""

from __future__ import annotations

import heapq
import itertools
import queue
import time
from collections.abc import Callable

__all__ = ["Loop"]

_Task = Callable[[], None]


class Loop:
    """Do tasks one after another, some of them later.

    Parameters
    ----------
    clock : callable
        Monotonic seconds; tests move it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._later: list[tuple[float, int, _Task]] = []
        self._numbers = itertools.count()
        self._is_ended = False

    def post(self, task: _Task) -> None:
        """Have something done; from any thread, returns at once."""
        self._tasks.put(task)

    def after(self, seconds: float, task: _Task) -> None:
        """Have something done later; for tasks."""
        heapq.heappush(self._later, (self.clock() + seconds, next(self._numbers), task))

    def end(self) -> None:
        """Have `run` return; for tasks."""
        self._is_ended = True

    def run(self, patience_seconds: float | None = None) -> None:
        """Do tasks until `end`, or for so long; may be called again."""
        self._is_ended = False
        until = None if patience_seconds is None else self.clock() + patience_seconds
        while not self._is_ended and (until is None or self.clock() < until):
            self.turn(self._seconds_left(until))

    def turn(self, timeout_seconds: float | None = 0.0) -> bool:
        """Do what is due, and one task, for which it waits so long; tell whether there was one."""
        try:
            task = (
                self._tasks.get(timeout=timeout_seconds)
                if timeout_seconds != 0
                else (self._tasks.get_nowait())
            )
        except queue.Empty:
            self._do_due()
            return False
        task()
        self._do_due()
        return True

    def _do_due(self) -> None:
        while self._later and self._later[0][0] <= self.clock():
            heapq.heappop(self._later)[2]()

    def _seconds_left(self, until: float | None) -> float | None:
        dues = [due for due, *_ in self._later[:1]] + ([] if until is None else [until])
        return max(0.0, min(dues) - self.clock()) if dues else None
