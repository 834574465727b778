"""Launch an instance: which type, on which market, for how long to try."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Described, Launch
from ramp_engine.aws.instances import Instance
from ramp_engine.aws.refusals import NoCapacityError, UnsupportedHereError
from ramp_engine.errors import ResourceUnavailableError, WorkerError

__all__ = ["Budget", "Launcher", "Unlimited"]

logger = logging.getLogger(__name__)

#: Between two rounds on the spot market, in seconds: at first, and at most.
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 30.0


class Budget(Protocol):
    """What an event may spend; told of each instance that starts and ends, perhaps twice."""

    def allow(self, kind: str, is_spot: bool) -> None:
        """Raise `ResourceUnavailableError` when no instance of type `kind` may be launched now."""

    def launched(self, instance: Instance) -> None:
        """Count an instance from its launch on."""

    def ended(self, instance_id: str) -> None:
        """Count an instance no longer."""


class Unlimited:
    """The budget of those who have set none."""

    def allow(self, kind: str, is_spot: bool) -> None:
        """Allow everything."""

    def launched(self, instance: Instance) -> None:
        """Take no notice."""

    def ended(self, instance_id: str) -> None:
        """Take no notice."""


class Launcher:
    """Find an instance type and a market that has room.

    Parameters
    ----------
    ec2 : EC2
    settings : AWSWorkerConfig
    budget : Budget
    clock : callable
        Gives seconds.
    """

    def __init__(
        self,
        ec2: EC2,
        settings: AWSWorkerConfig,
        budget: Budget,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ec2 = ec2
        self._settings = settings
        self._budget = budget
        self._clock = clock

    def launch(
        self, tags: Mapping[str, str], new_token: Callable[[], str], stopping: threading.Event
    ) -> Described:
        """Launch one instance, of the first type that there is room for.

        The spot market is tried again for ``spot_timeout`` seconds where ``on_demand_fallback``
        allows another one after it; otherwise each type is tried once.

        Parameters
        ----------
        tags : mapping of str to str
        new_token : callable
            Gives a token that no launch had; one is taken for each call of AWS.
        stopping : Event
            Ends the wait between two tries.

        Raises
        ------
        ResourceUnavailableError
            There is no room, the budget is spent, or AWS is away.
        WorkerSetupError
            Something that is configured is wrong.
        """
        keys = self._settings
        if not (keys.use_spot_instance and keys.on_demand_fallback):
            return self._round(tags, new_token, is_spot=keys.use_spot_instance)
        give_up_at, pause = self._clock() + keys.spot_timeout, FIRST_PAUSE
        while True:
            try:
                return self._round(tags, new_token, is_spot=True)
            except NoCapacityError as error:
                left = give_up_at - self._clock()
                if left <= 0:
                    logger.info("no spot instance, buying one on demand", extra={"why": str(error)})
                    return self._round(tags, new_token, is_spot=False)
            if stopping.wait(min(pause, left)):
                raise ResourceUnavailableError("the dispatcher stops: no instance is launched")
            pause = min(2 * pause, LONGEST_PAUSE)

    def _round(
        self, tags: Mapping[str, str], new_token: Callable[[], str], *, is_spot: bool
    ) -> Described:
        """Try each type once, on one market."""
        refusals: list[WorkerError] = []
        for kind in self._settings.instance_type:
            self._budget.allow(kind, is_spot)
            try:
                return self._ec2.launch(Launch(kind, is_spot, new_token(), tags))
            except (NoCapacityError, UnsupportedHereError) as error:
                refusals.append(error)
        raise _all_of(refusals)


def _all_of(refusals: list[WorkerError]) -> WorkerError:
    """Make one error of those of each type: where one may have room later, it is worth waiting."""
    first = next((error for error in refusals if isinstance(error, NoCapacityError)), refusals[0])
    if len(refusals) == 1:
        return first
    merged = type(first)("; ".join(error.reason for error in refusals), first.hint)
    merged.__cause__ = first
    return merged
