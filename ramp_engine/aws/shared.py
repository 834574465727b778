"""What the workers of a dispatcher share."""

from __future__ import annotations

import threading
from pathlib import Path

from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.haste import Haste

__all__ = ["Shared"]


class Shared:
    """The instances of a dispatcher, and who waits for one; for all threads.

    Parameters
    ----------
    fleet : Fleet
    packed_dir : Path
        For bundles as they are sent.
    """

    def __init__(self, fleet: Fleet, packed_dir: Path) -> None:
        self.fleet = fleet
        self.packed_dir = packed_dir
        self._lock = threading.Lock()
        self._waiting: set[Haste] = set()
        self._is_ending = False

    def enter(self, haste: Haste) -> None:
        """Have somebody who waits hurry when the dispatcher stops."""
        with self._lock:
            self._waiting.add(haste)
            is_ending = self._is_ending
        if is_ending:
            haste.make()

    def leave(self, haste: Haste) -> None:
        """Forget somebody; also one who never entered."""
        with self._lock:
            self._waiting.discard(haste)

    def end_waits(self) -> None:
        """Have all hurry, those who come later too."""
        with self._lock:
            self._is_ending = True
            waiting = list(self._waiting)
        for haste in waiting:
            haste.make()
