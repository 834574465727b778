"""Scoring the folds that are done while others run.

In a thread of its own, so that it delays nothing, seldom enough to cost next to nothing, and only
where the scores can be seen for a while: they end with the attempt. What goes wrong here is logged
and changes nothing: all predictions are scored at the end.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping

from ramp_engine.errors import RampError

__all__ = ["PartialScoring"]

logger = logging.getLogger(__name__)

#: Of the time of a run that scoring its folds before the end may take.
MAX_SHARE = 0.05
#: How long that is taken to last before it was done once, in seconds.
FIRST_GUESS_SECONDS = 0.1
#: For so long other folds must be expected to run, in seconds.
MIN_LEFT_SECONDS = 2.0


class PartialScoring:
    """Score folds of one attempt in the background.

    Parameters
    ----------
    score : callable
        Scores folds by their numbers and records the scores; ended by the event that it gets.
    extra : mapping
        The facts for log records.
    n_kept : int
        Of the folds that are done, those that another attempt has done.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        score: Callable[[list[int], threading.Event], None],
        extra: Mapping[str, object],
        n_kept: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._score = score
        self._extra = dict(extra)
        self._clock = clock
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._scored: set[int] = set()
        self._n_kept = n_kept
        self._began_at = clock()
        self._due_at = self._began_at + FIRST_GUESS_SECONDS / MAX_SHARE

    def offer(self, done: Collection[int], n_missing: int) -> None:
        """Have folds scored, unless that is under way, was done, is not due or not worth it yet.

        Parameters
        ----------
        done : collection of int
            The folds.
        n_missing : int
            How many others there are.
        """
        is_under_way = self._thread is not None and self._thread.is_alive()
        if is_under_way or self._stopping.is_set() or self._clock() < self._due_at:
            return
        is_worth_it = self._seconds_left(len(done), n_missing) >= MIN_LEFT_SECONDS
        if is_worth_it and not self._scored.issuperset(done):
            self._thread = threading.Thread(
                target=self._work, args=(sorted(done),), name="partial scoring", daemon=True
            )
            self._thread.start()

    def _seconds_left(self, n_done: int, n_missing: int) -> float:
        """Expect that folds go on to be done as fast as those of this attempt."""
        passed = self._clock() - self._began_at
        return passed * n_missing / max(1, n_done - self._n_kept)

    def stop(self) -> None:
        """End what is under way, without waiting; nothing more is scored."""
        self._stopping.set()

    def join(self, timeout_seconds: float) -> None:
        """Wait until nothing is under way any more, for so long."""
        if self._thread is not None:
            self._thread.join(timeout_seconds)

    def _work(self, folds: list[int]) -> None:
        began = self._clock()
        try:
            self._score(folds, self._stopping)
        except RampError as error:
            if not self._stopping.is_set():
                logger.warning("folds %s are not scored yet: %s", folds, error, extra=self._extra)
        except Exception:
            logger.exception("scoring folds %s failed", folds, extra=self._extra)
        self._scored.update(folds)  # also when it failed: it would again
        ended = self._clock()
        self._due_at = ended + (ended - began) / MAX_SHARE
