"""A clock that stands still until a test moves it."""

from __future__ import annotations


class ManualClock:
    """A clock to give to what reads ``clock()``.

    Parameters
    ----------
    now : float
        What it shows at first, in seconds.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Read the clock, in seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds
