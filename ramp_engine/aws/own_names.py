"""By which names an instance is known to be ours: its tags say which dispatcher has it."""

from __future__ import annotations

import threading

from ramp_engine.aws.ec2 import Described
from ramp_engine.aws.instances import DISPATCHER

__all__ = ["OwnNames"]


class OwnNames:
    """Tell instances that another dispatcher has taken over from ours; for all threads.

    An instance has several names of ours: a dispatcher that was taken for dead goes on under
    another one, and what EC2 describes shows changed tags late.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[str, set[str]] = {}

    def add(self, instance_id: str, dispatcher: str) -> None:
        """Note what the tags of an instance may say while it is ours."""
        with self._lock:
            self._names.setdefault(instance_id, set()).add(dispatcher)

    def forget(self, instance_id: str) -> None:
        """Know an instance no longer."""
        with self._lock:
            self._names.pop(instance_id, None)

    def are_foreign_to(self, seen: Described) -> bool:
        """Tell whether an instance that was ours is another dispatcher's, as its tags say."""
        with self._lock:
            names, said = self._names.get(seen.id), seen.tags.get(DISPATCHER)
            return names is not None and said is not None and said not in names
