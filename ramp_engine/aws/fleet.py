"""All instances of a dispatcher: launched, waiting for the next submission, on their way out."""

from __future__ import annotations

import itertools
import logging
import threading
import time
import uuid
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.departures import Departures
from ramp_engine.aws.ec2 import EC2, Described
from ramp_engine.aws.held import Held
from ramp_engine.aws.instances import DEPLOYMENT, DISPATCHER, ENDED, EVENT, Instance, Owner
from ramp_engine.aws.launching import Budget, Launcher, Unlimited
from ramp_engine.aws.own_names import OwnNames
from ramp_engine.aws.pool import Pool
from ramp_engine.aws.refusals import AnswerLostError, InstanceGoneError
from ramp_engine.aws.starting import await_running
from ramp_engine.aws.watch import Watch
from ramp_engine.errors import ResourceUnavailableError, WorkerError, WorkerLostError

__all__ = ["Fleet"]

logger = logging.getLogger(__name__)

#: Seconds after a launch without an answer in which its instance may appear.
UNANSWERED_SECONDS = 600.0
#: Seconds that the end of the block takes at most, for AWS to take the terminations.
CLOSING_SECONDS = 60.0


class Fleet:
    """Hold the instances of one dispatcher; a context manager, for all threads.

    Parameters
    ----------
    config : mapping
        That of a worker. ``deployment`` and ``event`` say which instances are looked at,
        ``n_workers`` how many there may be, ``time_between_collection`` how often (seconds).
    budget : Budget, optional
        What may be spent; default: there is no limit.

    Notes
    -----
    At the end of the block all instances are terminated, but for those that were let go. One whose
    launch was never answered is known by its token, and terminated when it shows.
    """

    def __init__(self, config: Mapping[str, Any], budget: Budget | None = None) -> None:
        self.settings = AWSWorkerConfig.of(config)
        self.ec2 = EC2(self.settings)
        self._budget: Budget = budget or Unlimited()
        self._n_workers = int(config.get("n_workers", 1))
        self._tags = {
            DEPLOYMENT: str(config.get("deployment") or f"alone-{uuid.uuid4().hex}"),
            EVENT: str(config.get("event", "")),
        }
        self._launcher = Launcher(self.ec2, self.settings, self._budget)
        self._token = f"ramp-{uuid.uuid4().hex}"
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()  # never held while EC2, or the watch, is asked
        self._held = Held()
        self._pool = Pool(self.settings.idle_minutes * 60)
        self._n_launching = 0
        self._unanswered_until = float("-inf")
        self._departures = Departures(self.ec2, self._budget)
        self._released: set[str] = set()
        self._names = OwnNames()
        self._is_closed = False
        turn = float(config.get("time_between_collection", 5.0))
        self._watch = Watch(self._describe, self._is_needed, self._tend, turn)
        self.snapshot = self._watch.snapshot  #: of all instances of the event

    def __enter__(self) -> Self:
        self._watch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # What workers ask

    def obtain(self, owner: Owner, *, stopping: threading.Event | None = None) -> Instance:
        """Give an instance that runs and has an address: one that waits, or a new one.

        Blocks for at most ``spot_timeout`` and ``start_timeout`` seconds, and what AWS takes for
        an answer. When it fails, nothing is left running.

        Parameters
        ----------
        owner : Owner
            What it is for; the instance is tagged so.
        stopping : Event, optional
            Ends the wait.

        Raises
        ------
        ResourceUnavailableError
            There is none just now: no room, the budget is spent, AWS is away.
        WorkerSetupError
            Something that is configured is wrong: it will not be better by itself.
        """
        return self._warm(owner) or self._new(owner, stopping or threading.Event())

    def find(self, instance_id: str, owner: Owner | None = None) -> Instance:
        """Take over an instance that another dispatcher held, or another worker of this one.

        It stays held until each that holds it has given it back or let it go.

        Parameters
        ----------
        instance_id : str
        owner : Owner, optional
            Whose it is from now on, for its tags.

        Raises
        ------
        WorkerLostError
            It runs no more.
        ResourceUnavailableError
            AWS has not answered for ``patience_seconds``, or the fleet is closed.
        """
        with self._lock:
            if self._is_closed:
                raise ResourceUnavailableError("the dispatcher stops: no instance is taken over")
        seen = self._found(instance_id)
        if seen is None or seen.state in ENDED:
            reason = f": {seen.reason}" if seen and seen.reason else ""
            raise WorkerLostError(f"the instance {instance_id} is gone{reason}")
        if owner is not None:
            self._names.add(instance_id, seen.tags.get(DISPATCHER, ""))
            self._tag(instance_id, owner)
        return self._hold(self._instance(seen))

    def look(self, instance_id: str) -> str:
        """Tell the state of an instance as of the last snapshot; asks nobody.

        Returns
        -------
        str
            pending, running, shutting-down, terminated, stopping, stopped; ``unknown`` for one
            that this fleet never held.
        """
        seen = self._watch.look(instance_id)
        if seen is not None:
            return seen.state
        is_settling = self._departures.is_settling(instance_id)
        if is_settling is None:
            return "unknown"
        return "pending" if is_settling else "terminated"

    def holds(self, instance_id: str) -> bool:
        """Tell whether an instance is in use here, or waits for the next submission."""
        with self._lock:
            return instance_id in {*self._held, *(one.id for one in self._pool.all())}

    def give_back(self, instance: Instance, *, is_clean: bool) -> None:
        """Have an instance wait for the next submission, or terminated; does not block.

        It waits when it is clean, with more than half of ``max_lifetime_hours`` before it, and
        neither happens while another worker holds it as well.
        """
        is_good = is_clean and self.look(instance.id) == "running" and self._is_young(instance)
        with self._lock:
            if not self._held.drop(instance.id):
                return
            room = self._n_workers - len(self._held) - self._n_launching - len(self._pool)
            is_good = is_good and room > 0 and not self._is_closed
            if not (is_good and self._pool.put(instance, time.monotonic())):
                self._departures.add(instance.id)
        self._watch.poke()

    def give_up(self, instance: Instance) -> None:
        """Have an instance terminated, unless EC2 says now that another dispatcher has it.

        What the instance itself says of that is not believed: nobody might end it then.
        """
        with suppress(WorkerError):
            self._found(instance.id)
        self.give_back(instance, is_clean=False)

    def let_go(self, instance: Instance) -> None:
        """Leave an instance to another dispatcher, or to the other worker here that holds it."""
        with self._lock:
            if self._held.drop(instance.id):
                self._forget(instance.id)

    # A warm one

    def _warm(self, owner: Owner) -> Instance | None:
        """Give one of the same image that waits and still runs, tagged for its new owner."""
        image = self.ec2.image() if len(self._pool) else ""
        while (instance := self._taken()) is not None:
            seen = self._watch.look(instance.id)
            if seen is None or (seen.state, seen.image) != ("running", image):
                self._end(instance)
                continue
            try:
                self._budget.allow(instance.kind, instance.is_spot)
                self._tag(instance.id, owner)
            except InstanceGoneError:
                self._end(instance)
            except BaseException:
                self.give_back(instance, is_clean=True)
                raise
            else:
                return instance
        return None

    def _taken(self) -> Instance | None:
        with self._lock:
            instance = self._pool.take()
            return instance and self._held.add(instance)

    # A new one

    def _new(self, owner: Owner, stopping: threading.Event) -> Instance:
        self._reserve()
        try:
            instance = self._launched(owner, stopping)
        finally:
            with self._lock:
                self._n_launching -= 1
        try:
            self._budget.launched(instance)
            await_running(
                instance, self._watch, self.settings, lambda: stopping.is_set() or self._is_closed
            )
        except BaseException:
            self._end(instance)
            raise
        return instance

    def _reserve(self) -> None:
        with self._lock:
            if self._is_closed:
                raise ResourceUnavailableError("the dispatcher stops: no instance is launched")
            n_used = len(self._held) + len(self._pool) + self._n_launching
            if n_used >= self._n_workers:
                raise ResourceUnavailableError(
                    f"all {self._n_workers} instances that n_workers allows are in use"
                )
            self._n_launching += 1

    def _launched(self, owner: Owner, stopping: threading.Event) -> Instance:
        try:
            described = self._launcher.launch(owner.tags(), self._new_token, stopping)
        except AnswerLostError:
            self._unanswered_until = time.monotonic() + UNANSWERED_SECONDS
            self._watch.poke()
            raise
        self._names.add(described.id, str(owner.dispatcher))
        logger.info("launched %s", described.id, extra={"type": described.kind})
        return self._hold(self._instance(described))

    def _new_token(self) -> str:
        return f"{self._token}-{next(self._numbers)}"

    # Bookkeeping

    def _instance(self, described: Described) -> Instance:
        return Instance(
            described,
            look=self._watch.look,
            console=self.ec2.console_output,
            use_private_ip=self.settings.use_private_ip,
        )

    def _tag(self, instance_id: str, owner: Owner) -> None:
        self._names.add(instance_id, str(owner.dispatcher))
        self.ec2.tag([instance_id], owner.tags())

    def _forget(self, instance_id: str) -> None:
        self._held.forget(instance_id)
        self._pool.drop({instance_id})
        self._names.forget(instance_id)
        self._released.add(instance_id)
        self._departures.forget(instance_id)

    def _hold(self, instance: Instance) -> Instance:
        with self._lock:
            self._departures.expect(instance.id)
            self._released.discard(instance.id)
            self._pool.drop({instance.id})
            if self._is_closed:  # while it was launched
                self._departures.add(instance.id)
            else:
                instance = self._held.add(instance)
        self._watch.poke()
        return instance

    def _end(self, instance: Instance) -> None:
        with self._lock:
            self._held.forget(instance.id)
            self._departures.add(instance.id)
        self._watch.poke()

    def _is_young(self, instance: Instance) -> bool:
        half = timedelta(hours=self.settings.max_lifetime_hours / 2)
        return datetime.now(UTC) - instance.launched_at < half

    def _found(self, instance_id: str) -> Described | None:
        for _ in range(2):  # a snapshot may lack what is there
            self._watch.refresh(self.settings.patience_seconds)
            seen = self._watch.look(instance_id)
            if seen is not None:
                return seen
        return None

    # In the thread of the watch

    def _describe(self) -> list[Described]:
        return self.ec2.describe(self._tags)

    def _is_needed(self) -> bool:
        return bool(
            self._held
            or len(self._pool)
            or len(self._departures)
            or time.monotonic() < self._unanswered_until
        )

    def _tend(self) -> None:
        """Do what follows from the last snapshot."""
        seen = {item.id: item for item in self._watch.all()}
        with self._lock:
            for item in filter(self._names.are_foreign_to, seen.values()):
                logger.warning("%s is left to another dispatcher", item.id)
                self._forget(item.id)
            self._pool.drop({key for key, item in seen.items() if item.state in ENDED})
            idle = [instance.id for instance in self._pool.expired(time.monotonic())]
            for instance_id in idle + self._strays(seen.values()):
                self._departures.add(instance_id)
        self._departures.tend(seen)

    def _strays(self, seen: Collection[Described]) -> list[str]:
        """Find what was launched for us and never came to be held: the answer was lost."""
        if self._n_launching:
            return []
        known = {*self._held, *self._released, *(one.id for one in self._pool.all())}
        return [
            item.id
            for item in seen
            if item.token.startswith(f"{self._token}-")
            and item.state not in ("shutting-down", "terminated")
            and item.id not in known
            and item.id not in self._departures
        ]

    # The end

    def close(self) -> None:
        """Terminate everything but what was let go; takes a minute at most."""
        with self._lock:
            self._is_closed = True
            waiting = {instance.id for instance in self._pool.all()}
            for instance_id in {*waiting, *self._held}:
                self._departures.add(instance_id)
            self._pool.drop(waiting)
            self._held.clear()
        give_up_at = time.monotonic() + CLOSING_SECONDS
        self._look_for_strays(give_up_at)
        self._watch.poke()
        while self._is_unfinished() and time.monotonic() < give_up_at:
            self._watch.wait(0.1)
        self._watch.close(timeout_seconds=max(1.0, give_up_at - time.monotonic()))
        left = self._departures.left()
        if left:
            hint = "`ramp aws reap` terminates them, and so does the daemon"
            logger.error("not known to be terminated: %s. %s", ", ".join(left), hint)

    def _look_for_strays(self, give_up_at: float) -> None:
        """Have what a lost answer has left behind seen before the end."""
        if time.monotonic() >= self._unanswered_until:
            return
        try:
            self._watch.refresh(max(1.0, give_up_at - time.monotonic()))
        except WorkerError as error:
            logger.warning("a launch without an answer is left", extra={"why": str(error)})

    def _is_unfinished(self) -> bool:
        with self._lock:
            return self._n_launching > 0 or bool(self._departures.left())
