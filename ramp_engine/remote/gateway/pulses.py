"""Which nodes have not answered for so long that what they hold is taken as lost."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["Pulses"]


class Pulses:
    """Questions to nodes that wait for an answer.

    Parameters
    ----------
    patience_seconds : float
        Who has not answered for so long is silent.
    clock : callable
        Monotonic seconds.

    Notes
    -----
    When `fallen` was not called for long, this process was stopped, or had no time: that is not
    held against the nodes, which get all their time again.
    """

    def __init__(
        self, patience_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.patience_seconds = patience_seconds
        self._clock = clock
        self._since: dict[str, float] = {}  # when the first question was asked that is open
        self._under_way: set[str] = set()
        self._looked_at = clock()
        self.silent: set[str] = set()

    def ask(self, name: str) -> bool:
        """Note that a node is asked; False: an earlier question is still under way."""
        if name in self._under_way:
            return False
        self._under_way.add(name)
        self._since.setdefault(name, self._clock())
        return True

    def failed(self, name: str) -> None:
        """Note that a question has come to nothing: another one may be asked."""
        self._under_way.discard(name)

    def heard(self, name: str) -> bool:
        """Note that a node has said something; tell whether it was silent."""
        self._since.pop(name, None)
        was_silent = name in self.silent
        self.silent.discard(name)
        return was_silent

    def forget(self, name: str) -> None:
        """Take a node as gone."""
        self.heard(name)
        self.failed(name)

    def fallen(self) -> list[str]:
        """List the nodes that have become silent; once each."""
        now = self._clock()
        if now - self._looked_at > self.patience_seconds / 2:
            self._since = dict.fromkeys(self._since, now)
        self._looked_at = now
        fallen = [
            name
            for name, since in self._since.items()
            if name not in self.silent and now - since > self.patience_seconds
        ]
        self.silent.update(fallen)
        return fallen
