"""An end to every wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

__all__ = ["Watchdog"]


class Watchdog:
    """Do something, from a thread of its own, when a block takes too long.

    What it does must wake the block: paramiko has waits without a time limit, which only the end
    of the connection ends.

    Parameters
    ----------
    seconds : float
        How long the block may take.
    act : callable
        What is done then, once.
    """

    def __init__(self, seconds: float, act: Callable[[], None]) -> None:
        self._act = act
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True
        #: How long the block may take.
        self.seconds = seconds
        #: Whether it took longer.
        self.has_expired = False

    def _expire(self) -> None:
        self.has_expired = True
        self._act()

    def __enter__(self) -> Watchdog:
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
