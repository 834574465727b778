"""One thread that describes all instances of an event, one call a turn."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator

from ramp_engine.aws.ec2 import Described
from ramp_engine.errors import ResourceUnavailableError, WorkerError

__all__ = ["Watch"]

logger = logging.getLogger(__name__)

#: Seconds between two calls while an instance is awaited, and the most while AWS is away.
AWAITED_SECONDS, LONGEST_SECONDS = 5.0, 60.0
#: An older snapshot is none, however long turns are, in seconds.
OLDEST_SECONDS = 120.0
#: So many snapshots in a row have to lack an instance that was there, for it to be gone.
N_MISSING = 3


class Watch:
    """Know how all instances stand, by one call a turn and by none while nobody needs to know.

    Parameters
    ----------
    describe : callable
        Gives all instances; raises `WorkerError`.
    is_needed : callable
        Tells whether there is any instance to look after.
    tend : callable
        Called by the thread after each turn and each `poke`: what has to be done about them.
    turn_seconds : float
        Between two calls.
    """

    def __init__(
        self,
        describe: Callable[[], list[Described]],
        is_needed: Callable[[], bool],
        tend: Callable[[], None],
        turn_seconds: float,
    ) -> None:
        self._describe = describe
        self._is_needed = is_needed
        self._tend = tend
        self._turn_seconds = turn_seconds
        self._changed = threading.Condition()
        self._seen: dict[str, Described] = {}
        self._n_missing: dict[str, int] = {}
        self._n_awaited = 0
        self._n_begun = 0
        self._done = 0  # the number of the last turn that succeeded
        self._n_failures = 0
        self._is_poked = False
        self._is_closed = False
        self._is_hurried = False
        self._last_at = float("-inf")
        self._seen_at = float("-inf")  # the beginning of the last turn that succeeded
        #: Why the last turn failed; None: it did not.
        self.error: WorkerError | None = None
        self._thread = threading.Thread(target=self._run, name="ramp-ec2-watch", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def close(self, timeout_seconds: float) -> None:
        """End the thread, and wait for it; a call that hangs is left to itself."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(timeout_seconds)

    # For all threads

    def look(self, instance_id: str) -> Described | None:
        """Give what is known of an instance; None: it was never seen, or is gone."""
        with self._changed:
            return self._seen.get(instance_id)

    def all(self) -> list[Described]:
        """Give all instances that are known."""
        with self._changed:
            return list(self._seen.values())

    def snapshot(self) -> tuple[float, list[Described]] | None:
        """Give all instances that are known, and the seconds since they were; asks nobody.

        None when the last turns have failed, or there were none since nobody needed to know.
        """
        with self._changed:
            age = time.monotonic() - self._seen_at
            is_late = age > min(2 * self._turn_seconds, OLDEST_SECONDS)
            return None if is_late else (age, list(self._seen.values()))

    def poke(self) -> None:
        """Have something done soon: what there is to look after has changed."""
        with self._changed:
            self._is_poked = True
            self._changed.notify_all()

    @contextlib.contextmanager
    def awaited(self) -> Iterator[None]:
        """Have turns come quickly inside the block."""
        with self._changed:
            self._n_awaited += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._n_awaited -= 1

    def wait(self, timeout_seconds: float) -> None:
        """Wait for the end of a turn, no longer than that."""
        with self._changed:
            self._changed.wait(timeout_seconds)

    def refresh(self, timeout_seconds: float) -> None:
        """Wait for a turn that begins after this call.

        Raises
        ------
        WorkerError
            None has succeeded in time.
        """
        with self.awaited(), self._changed:
            wanted, self._is_hurried = self._n_begun + 1, True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._done >= wanted or self._is_closed, timeout_seconds)
            if self._done < wanted:
                raise self.error or ResourceUnavailableError("EC2 does not answer")

    # The thread

    def _run(self) -> None:
        while self._pause():
            try:
                if self._is_due():
                    self._turn()
                self._tend()
            except Exception:  # without this thread nothing is ever terminated
                logger.exception("looking after the instances failed")

    def _pause(self) -> bool:
        """Wait until there is something to do; False: this is the end."""
        with self._changed:
            while not (self._is_closed or self._is_poked or self._is_due()):
                needed = self._n_awaited > 0 or self._is_needed()
                self._changed.wait(self._left() if needed else None)
            self._is_poked = False
            return not self._is_closed

    def _left(self) -> float:
        return max(0.01, self._next_turn_at() - time.monotonic())

    def _next_turn_at(self) -> float:
        if self._is_hurried:
            return self._last_at
        pause = self._turn_seconds
        if self._n_awaited:
            pause = min(pause, AWAITED_SECONDS)
        if self._n_failures:
            pause = min(pause * 2**self._n_failures, LONGEST_SECONDS)
        return self._last_at + pause

    def _is_due(self) -> bool:
        needed = self._n_awaited > 0 or self._is_needed()
        return needed and time.monotonic() >= self._next_turn_at()

    def _turn(self) -> None:
        with self._changed:
            self._n_begun += 1
            number, began_at = self._n_begun, time.monotonic()
            self._last_at, self._is_hurried = began_at, False
        try:
            described = self._describe()
        except WorkerError as error:
            self._failed(error)
            return
        with self._changed:
            self._take({item.id: item for item in described})
            self._seen_at = began_at
            self._done, self._n_failures, self.error = number, 0, None
            self._changed.notify_all()

    def _failed(self, error: WorkerError) -> None:
        if self._n_failures == 0:
            logger.warning("the instances cannot be described", extra={"why": str(error)})
        with self._changed:
            self.error = error
            self._n_failures = min(self._n_failures + 1, 10)
            self._changed.notify_all()

    def _take(self, described: dict[str, Described]) -> None:
        """Put a snapshot in place of the last; what it lacks only for the moment stays."""
        missing = {key: self._n_missing.get(key, 0) + 1 for key in self._seen.keys() - described}
        self._n_missing = {key: count for key, count in missing.items() if count < N_MISSING}
        self._seen = {key: self._seen[key] for key in self._n_missing} | described
