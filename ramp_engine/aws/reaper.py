"""Instances and spot requests that nobody answers for: found by their tags, and ended."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import EC2, Described, SpotRequest
from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.instances import DEPLOYMENT, DISPATCHER, EVENT, SUBMISSION, Owner
from ramp_engine.aws.ledger import Ledger
from ramp_engine.aws.refusals import InstanceGoneError
from ramp_engine.base import IsLive
from ramp_engine.errors import WorkerError

__all__ = ["Reaped", "Reaper", "Tenancy", "read_owner", "reap"]

logger = logging.getLogger(__name__)

#: States in which an instance costs something, or might be started again.
ALIVE = frozenset({"pending", "running", "stopping", "stopped"})
#: States in which it counts for the budget.
RUNNING = frozenset({"pending", "running"})
#: States of a spot request that may still lead to an instance, or has.
REQUESTING = frozenset({"open", "active"})
#: So young an instance may lack the tags that say whose it is, in seconds.
GRACE_SECONDS = 60.0


@dataclass(frozen=True)
class Tenancy:
    """An instance, and whether somebody answers for it."""

    instance: Described
    owner: Owner | None  #: None: its tags do not say
    is_live: bool


@dataclass
class Reaped:
    """What was ended, or with a dry run would be."""

    instances: list[Tenancy] = field(default_factory=list)
    spot_requests: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)  #: ids, and why


class Reaper:
    """Look after what one event of one deployment has at EC2.

    Parameters
    ----------
    config : mapping
        That of `BaseWorker.reap`: the worker's keys, ``deployment``, ``event``, ``logs_dir``.
    is_live : callable
        As for `BaseWorker.reap`.
    holds : callable
        Tells of an instance, by its id, whether the caller's own fleet has it: such a one is the
        fleet's affair, whatever its tags say.
    snapshot : callable
        Gives all instances of the event and the age of that knowledge in seconds, where somebody
        else has asked for them lately: a fleet does so each turn.
    ec2 : EC2, optional
        Where there is one already.
    clock : callable
        Gives the time, aware UTC; tests move it.

    Notes
    -----
    Nothing is ended of which it is not sure: the database is asked after EC2 was, since a
    dispatcher is known before it launches anything; and EC2 once more right before the end, since
    an instance that waits may have got another submission meanwhile. What has a live dispatcher is
    left to that one's fleet.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        is_live: IsLive,
        *,
        holds: Callable[[str], bool] = lambda _: False,
        snapshot: Callable[[], tuple[float, list[Described]] | None] = lambda: None,
        ec2: EC2 | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.settings = AWSWorkerConfig.of(config)
        self.ledger = Ledger(Path(config["logs_dir"]), self.settings, clock)
        self._tags = {DEPLOYMENT: str(config["deployment"]), EVENT: str(config["event"])}
        self._ec2 = ec2 or EC2(self.settings)
        self._is_live = is_live
        self._holds = holds
        self._snapshot = snapshot
        self._clock = clock

    def look(self) -> list[Tenancy]:
        """Give all instances that are alive, the oldest first.

        Raises
        ------
        WorkerError
            EC2 does not say which there are.
        DatabaseUnavailableError
            Nobody knows who lives.
        """
        return self._look()[1]

    def _look(self) -> tuple[datetime, list[Tenancy]]:
        """As `look`, with the time as of which it is so."""
        as_of, known = self._clock(), self._snapshot()
        if known is not None:
            age, described = known
            as_of -= timedelta(seconds=age)
        else:
            described = self._ec2.describe(self._tags)
        return as_of, self._judged(one for one in described if one.state in ALIVE)

    def reap(self, *, is_dry_run: bool = False) -> Reaped:
        """Terminate the instances and cancel the spot requests that nobody answers for.

        May be called again, and by several at once. A failure with one of them is noted, and the
        others are ended all the same; the next call tries again. The ledger is brought up to date.

        Raises
        ------
        WorkerError
            EC2 does not say which there are.
        DatabaseUnavailableError
            Nobody knows who lives: nothing is ended.
        """
        reaped = Reaped()
        as_of, found = self._look()
        requests = self._requests(found)
        dead = self._confirmed([one for one in found if not one.is_live])
        cancelled = self._unanswered(requests, found, {one.instance.id for one in dead})
        if is_dry_run:
            return Reaped(dead, [request.id for request in cancelled])
        for request in cancelled:
            self._try_to(self._cancel, request, reaped)
        for one in dead:
            self._try_to(self._terminate, one, reaped)
        running = [one.instance for one in found if one.instance.state in RUNNING]
        self.ledger.settle(running, as_of)
        for one in reaped.instances:
            self.ledger.ended(one.instance.id)
        return reaped

    def _judged(self, alive: Iterable[Described]) -> list[Tenancy]:
        answers: dict[Owner, bool] = {}
        return [
            self._tenancy(one, answers) for one in sorted(alive, key=lambda one: one.launched_at)
        ]

    def _tenancy(self, instance: Described, answers: dict[Owner, bool]) -> Tenancy:
        owner = read_owner(instance.tags)
        if self._holds(instance.id):
            return Tenancy(instance, owner, is_live=True)
        if owner is None:
            age = (self._clock() - instance.launched_at).total_seconds()
            return Tenancy(instance, None, is_live=age < GRACE_SECONDS)
        return Tenancy(instance, owner, self._answers_for(owner, answers))

    def _answers_for(self, owner: Owner, answers: dict[Owner, bool]) -> bool:
        if owner not in answers:
            answers[owner] = self._is_live(owner.dispatcher, owner.submission, owner.attempt)
        return answers[owner]

    def _confirmed(self, dead: list[Tenancy]) -> list[Tenancy]:
        """Ask EC2 once more: an instance whose tags have changed has got a new owner."""
        if not dead:
            return []
        now = {one.id: one for one in self._ec2.describe(self._tags)}
        return [
            one
            for one in dead
            if (seen := now.get(one.instance.id)) is not None
            and seen.state in ALIVE
            and seen.tags == one.instance.tags
            and not self._holds(seen.id)
        ]

    # Spot requests

    def _requests(self, found: Collection[Tenancy]) -> list[SpotRequest]:
        if not (self.settings.use_spot_instance or any(one.instance.is_spot for one in found)):
            return []
        asked = self._ec2.spot_requests(self._tags)
        return [request for request in asked if request.state in REQUESTING]

    def _unanswered(
        self, requests: Iterable[SpotRequest], found: Iterable[Tenancy], dead: Collection[str]
    ) -> list[SpotRequest]:
        """Choose the requests of dead instances, and those of dead dispatchers without one.

        The tags of a request stay those of the first submission on its instance.
        """
        alive, answers = {one.instance.id for one in found}, dict[Owner, bool]()
        chosen = []
        for request in requests:
            owner = read_owner(request.tags)
            if request.instance_id in alive:
                is_over = request.instance_id in dead
            else:
                is_over = owner is not None and not self._answers_for(owner, answers)
            if is_over:
                chosen.append(request)
        return chosen

    # The end

    def _try_to(self, end: Callable[[Any, Reaped], None], one: Any, reaped: Reaped) -> None:
        try:
            end(one, reaped)
        except WorkerError as error:
            id_ = one.instance.id if isinstance(one, Tenancy) else one.id
            reaped.failed[id_] = str(error)
            logger.warning("%s could not be ended: %s", id_, error)

    def _cancel(self, request: SpotRequest, reaped: Reaped) -> None:
        self._ec2.cancel_spot_requests([request.id])
        reaped.spot_requests.append(request.id)
        logger.warning("cancelled the spot request %s of a dead dispatcher", request.id)

    def _terminate(self, one: Tenancy, reaped: Reaped) -> None:
        try:
            self._ec2.terminate([one.instance.id])
        except InstanceGoneError:
            return  # somebody else was quicker
        reaped.instances.append(one)
        logger.warning(
            "terminated %s, for which nobody answers any more",
            one.instance.id,
            extra={"state": one.instance.state, "was_of": one.instance.tags.get(SUBMISSION)},
        )


def read_owner(tags: Mapping[str, str]) -> Owner | None:
    """Tell from its tags whose something is; None: they do not say."""
    try:
        submission, attempt = tags[SUBMISSION].split("-")
        return Owner(
            deployment=tags[DEPLOYMENT],
            event=tags[EVENT],
            dispatcher=int(tags[DISPATCHER]),
            submission=int(submission),
            attempt=int(attempt),
        )
    except (KeyError, ValueError):
        return None


def reap(config: Mapping[str, Any], shared: Fleet | None, is_live: IsLive) -> None:
    """End what nobody answers for: `BaseWorker.reap` of the worker."""
    if shared is None:
        Reaper(config, is_live).reap()
    else:
        holds, snapshot = shared.holds, shared.snapshot
        Reaper(config, is_live, holds=holds, snapshot=snapshot, ec2=shared.ec2).reap()
