"""Calls of workers that do not return: what a dispatcher gives up, and when it has to end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

from ramp_engine.errors import WorkerError
from ramp_engine.run import Run
from ramp_engine.run_context import HungCall

__all__ = ["HungCalls"]

#: With so many calls of workers that hang, the dispatcher ends when its other runs have.
MAX_HUNG_CALLS = 3


class HungCalls:
    """The calls that were left to their threads.

    Parameters
    ----------
    hung_after_seconds : float
        A call that is under way for so long hangs.
    """

    def __init__(self, hung_after_seconds: float) -> None:
        self._hung_after_seconds = hung_after_seconds
        self._calls: list[HungCall] = []

    def __iter__(self) -> Iterator[HungCall]:
        return iter(self._calls)

    @property
    def are_too_many(self) -> bool:
        """Whether so many calls hang that the process is better started anew."""
        self._calls = [hung for hung in self._calls if hung.thread.is_alive()]
        earliest = time.monotonic() - self._hung_after_seconds
        n_hung = sum(hung.call.started_at <= earliest for hung in self._calls)
        return n_hung >= MAX_HUNG_CALLS

    def leave_due(self, runs: Iterable[Run]) -> None:
        """Give up the calls of runs that hang, which frees their slots."""
        now = time.monotonic()
        self.leave([run for run in runs if run.hung_at <= now])

    def leave(self, runs: Iterable[Run]) -> None:
        """Give up the calls of runs that are under way."""
        left = (run.give_up() for run in runs)
        self._calls += [hung for hung in left if hung is not None]

    def error(self) -> WorkerError:
        """Say why the dispatcher ends."""
        return WorkerError(
            f"{MAX_HUNG_CALLS} calls of workers or more do not return: the dispatcher ends",
            "Start it again, as `ramp launch daemon` does by itself; its log names the calls",
        )
