"""Instances that wait for the next submission."""

from __future__ import annotations

from collections.abc import Collection

from ramp_engine.aws.instances import Instance

__all__ = ["Pool"]


class Pool:
    """Hold clean instances for a while; not for several threads at once.

    Parameters
    ----------
    idle_seconds : float
        So long one waits; 0: none is taken in.
    """

    def __init__(self, idle_seconds: float) -> None:
        self._idle_seconds = idle_seconds
        self._waiting: list[tuple[float, Instance]] = []  # the one that came last at the end

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, instance: Instance, now: float) -> bool:
        """Take an instance in at the time `now` (seconds of some clock); False: none is."""
        if self._idle_seconds <= 0:
            return False
        self._waiting.append((now, instance))
        return True

    def take(self) -> Instance | None:
        """Give out the one that came last, so that the others may grow too old."""
        return self._waiting.pop()[1] if self._waiting else None

    def drop(self, ids: Collection[str]) -> None:
        """Forget instances, such as those that have died here."""
        self._waiting = [item for item in self._waiting if item[1].id not in ids]

    def expired(self, now: float) -> list[Instance]:
        """Give out all that have waited too long."""
        old = [instance for since, instance in self._waiting if now - since >= self._idle_seconds]
        self.drop({instance.id for instance in old})
        return old

    def all(self) -> list[Instance]:
        """Tell which wait; they stay."""
        return [instance for _, instance in self._waiting]
