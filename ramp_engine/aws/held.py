"""Instances in use, and by how many workers each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from ramp_engine.aws.instances import Instance

__all__ = ["Held"]


class Held:
    """Count who holds an instance: two workers may, one of which lets it go soon.

    That is so when a dispatcher takes its own run over, having been taken for dead. Not for several
    threads at once.
    """

    def __init__(self) -> None:
        self._instances: dict[str, Instance] = {}
        self._n_holders: Counter[str] = Counter()

    def __contains__(self, instance_id: object) -> bool:
        return instance_id in self._instances

    def __iter__(self) -> Iterator[str]:
        return iter(self._instances)

    def __len__(self) -> int:
        return len(self._instances)

    def add(self, instance: Instance) -> Instance:
        """Count one more; gives the object that those before have, if there are any."""
        self._n_holders[instance.id] += 1
        return self._instances.setdefault(instance.id, instance)

    def drop(self, instance_id: str) -> bool:
        """Count one less; tell whether it was the last."""
        if instance_id not in self._instances:
            return False
        self._n_holders[instance_id] -= 1
        if self._n_holders[instance_id] > 0:
            return False
        self.forget(instance_id)
        return True

    def forget(self, instance_id: str) -> None:
        """Take it from all who hold it."""
        self._instances.pop(instance_id, None)
        self._n_holders.pop(instance_id, None)

    def clear(self) -> None:
        """Take all from everybody."""
        self._instances.clear()
        self._n_holders.clear()
