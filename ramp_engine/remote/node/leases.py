"""Who still wants this node: each gateway has a lease, which lapses unless it is renewed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

__all__ = ["Leases"]


class Leases:
    """The leases of all gateways.

    Parameters
    ----------
    clock : callable
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: dict[str, float] = {}

    def renew(self, lease: str, seconds: float) -> None:
        """Have a lease last for so long from now on, at least."""
        with self._lock:
            until = self._clock() + seconds
            self._until[lease] = max(until, self._until.get(lease, until))

    def release(self, lease: str) -> None:
        """Forget a lease."""
        with self._lock:
            self._until.pop(lease, None)

    def take_lapsed(self) -> list[str]:
        """Forget those that have lapsed, and list them."""
        with self._lock:
            now = self._clock()
            lapsed = [lease for lease, until in self._until.items() if until < now]
            for lease in lapsed:
                del self._until[lease]
            return lapsed

    def __bool__(self) -> bool:
        return bool(self._until)
