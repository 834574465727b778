"""Instances on their way out: terminated, and again, until they are seen to be gone."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Mapping

from ramp_engine.aws.ec2 import EC2, Described
from ramp_engine.aws.instances import ENDED
from ramp_engine.aws.launching import Budget
from ramp_engine.aws.refusals import InstanceGoneError
from ramp_engine.errors import WorkerError

__all__ = ["SETTLING_SECONDS", "Departures"]

logger = logging.getLogger(__name__)

#: Seconds in which EC2 may not know yet what it has launched.
SETTLING_SECONDS = 120.0
#: Seconds until an instance that is still there is terminated again.
AGAIN_SECONDS = 20.0
#: When an instance was last terminated that never was.
_NEVER = float("-inf")


class Departures:
    """Terminate instances and tell the budget of each that has ended; for all threads.

    Parameters
    ----------
    ec2 : EC2
    budget : Budget
    """

    def __init__(self, ec2: EC2, budget: Budget) -> None:
        self._ec2 = ec2
        self._budget = budget
        self._lock = threading.Lock()  # never held while EC2 or the budget are asked
        self._terminated_at: dict[str, float] = {}  # of those that are to go
        self._known_since: dict[str, float] = {}
        self._ended: set[str] = set()

    def __len__(self) -> int:
        return len(self._terminated_at)

    def __contains__(self, instance_id: str) -> bool:
        with self._lock:
            return instance_id in self._terminated_at or instance_id in self._ended

    def expect(self, instance_id: str) -> None:
        """Know an instance that is held: its end is told to the budget, whoever ends it."""
        with self._lock:
            self._known_since[instance_id] = time.monotonic()

    def forget(self, instance_id: str) -> None:
        """Know an instance no longer: its end is the affair of another dispatcher."""
        with self._lock:
            self._terminated_at.pop(instance_id, None)
            self._known_since.pop(instance_id, None)

    def is_settling(self, instance_id: str) -> bool | None:
        """Tell whether EC2 may not show an instance yet; None: it is not known here."""
        with self._lock:
            since = self._known_since.get(instance_id)
        return None if since is None else time.monotonic() - since < SETTLING_SECONDS

    def add(self, instance_id: str) -> None:
        """Have an instance terminated by the next `tend`."""
        with self._lock:
            self._terminated_at.setdefault(instance_id, _NEVER)

    def left(self) -> list[str]:
        """Give those of which nobody has heard yet that they end."""
        with self._lock:
            return sorted(self._terminated_at.keys() - self._ended)

    def tend(self, seen: Mapping[str, Described]) -> None:
        """Do what follows from a snapshot; what fails is done again by the next."""
        now = time.monotonic()
        with self._lock:
            gone = {key for key in self._terminated_at if self._is_gone(key, seen.get(key), now)}
            for instance_id in gone:
                del self._terminated_at[instance_id]
            due = [key for key, at in self._terminated_at.items() if now - at >= AGAIN_SECONDS]
        self._tell_ended({key for key, item in seen.items() if item.state in ENDED} | gone)
        self._terminate(due)

    def _is_gone(self, instance_id: str, seen: Described | None, now: float) -> bool:
        if seen is not None:
            return seen.state in ("shutting-down", "terminated")
        return now - self._known_since.get(instance_id, _NEVER) >= SETTLING_SECONDS

    def _terminate(self, ids: list[str]) -> None:
        if not ids:
            return
        try:
            self._ec2.terminate(ids)
        except InstanceGoneError:  # one unknown id, and none is terminated
            if len(ids) > 1:
                for instance_id in ids:
                    self._terminate([instance_id])
                return
        except WorkerError as error:
            logger.warning("instances are not terminated yet", extra={"why": str(error)})
        else:
            logger.info("terminated %s", ", ".join(ids))
            self._tell_ended(ids)
        with self._lock:
            self._terminated_at |= dict.fromkeys(ids, time.monotonic())

    def _tell_ended(self, ids: Collection[str]) -> None:
        with self._lock:
            new = [
                key
                for key in ids
                if key not in self._ended
                and (key in self._known_since or key in self._terminated_at)
            ]
            self._ended.update(new)
        for instance_id in new:
            self._budget.ended(instance_id)
