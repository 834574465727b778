"""The wish that a run ends early: whoever waits for an instance then waits no longer."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

__all__ = ["Haste"]

#: So long whatever is asked of an instance may last once there is haste, in seconds.
HURRIED_SECONDS = 15.0


class Haste:
    """Bound what one thread asks of an instance, from the moment that another one wishes.

    Parameters
    ----------
    seconds : float
        What is under way then, and whatever begins later, is cut off after so long.

    Attributes
    ----------
    wish : Event
        Set when there is haste: nothing is tried again.
    """

    def __init__(self, seconds: float = HURRIED_SECONDS) -> None:
        self.wish = threading.Event()
        self._seconds = seconds
        self._lock = threading.Lock()
        self._cut: Callable[[], None] | None = None  # ends what is under way
        self._timer: threading.Timer | None = None

    def make(self) -> None:
        """Wish it; for all threads, and more than once."""
        with self._lock:
            if not self.wish.is_set():
                self.wish.set()
                self._begin()

    @contextlib.contextmanager
    def bound(self, cut: Callable[[], None]) -> Iterator[None]:
        """Have `cut` called, from another thread, when the block lasts too long in haste."""
        with self._lock:
            self._cut = cut
            if self.wish.is_set():
                self._begin()
        try:
            yield
        finally:
            with self._lock:
                self._cut = None
                if self._timer is not None:
                    self._timer.cancel()
                    self._timer = None

    def _begin(self) -> None:
        if self._cut is not None:
            self._timer = threading.Timer(self._seconds, self._cut)
            self._timer.daemon = True
            self._timer.start()
