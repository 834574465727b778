"""What the instances of an event have cost: hours and money by UTC day, and the day's budget.

``logs_dir/aws-usage.jsonl`` has a line for each launch and each end, and is shared by all
dispatchers of the event. It is only ever appended to, so that whatever is killed spoils one line at
most, which is left out when it is read.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError

__all__ = ["LEDGER_NAME", "Ledger", "Seen", "Usage", "forecast"]

logger = logging.getLogger(__name__)

#: The file in logs_dir.
LEDGER_NAME = "aws-usage.jsonl"
#: An instance launched so lately may be missing in what EC2 describes, in seconds.
UNSEEN_SECONDS = 120.0

_DAY = timedelta(days=1)
_HOUR = timedelta(hours=1)


class Seen(Protocol):
    """What the ledger wants to know of an instance; `ramp_engine.aws.ec2.Described` is one."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def kind(self) -> str:
        """Its type."""

    @property
    def is_spot(self) -> bool:
        """Whether it was bought on the spot market."""

    @property
    def launched_at(self) -> datetime:
        """When, by the clock of EC2."""


@dataclass(frozen=True)
class Usage:
    """What an event has used of a day."""

    hours: float  #: of all instances together
    cost: float  #: in the unit of the prices; instances without a price cost nothing
    n_running: int
    cost_per_hour: float  #: of those that run


@dataclass
class _Stay:
    """An instance, from its launch to its end."""

    begin: datetime
    price: float | None
    end: datetime | None = None  #: None while it runs

    def hours(self, day: datetime, now: datetime, longest: timedelta) -> float:
        """Count its hours of the day that begins at `day`; none before it, none after `now`."""
        last = min(self.end or now, self.begin + longest, day + _DAY)
        return max((last - max(self.begin, day)) / _HOUR, 0.0)


class Ledger:
    """Write and read an event's ledger, and hold the event to its budget; for all threads.

    Parameters
    ----------
    logs_dir : Path
    settings : AWSWorkerConfig
        Prices, budget and the longest life of an instance.
    clock : callable
        Gives the time, aware UTC; tests move it.

    Notes
    -----
    A launch is taken at the time that EC2 gives, so the clocks of the dispatchers' machines count
    for ends only. Where one of them jumps, no instance is counted for less than nothing or for
    more than ``max_lifetime_hours``. An instance that spans midnight counts for both days.
    """

    def __init__(
        self,
        logs_dir: Path,
        settings: AWSWorkerConfig,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.path = logs_dir / LEDGER_NAME
        self._settings = settings
        self._clock = clock
        self._longest = timedelta(hours=settings.max_lifetime_hours)
        self._lock = threading.Lock()
        self._stays: dict[str, _Stay] = {}
        self._read_from = (0, 0)  # inode, and how many of its bytes are known

    def allow(self, kind: str, is_spot: bool) -> None:
        """Let an instance be launched, or be used for another submission.

        Raises
        ------
        ResourceUnavailableError
            The day's budget is used up, or what has been used cannot be read or written.
        WorkerSetupError
            The event has a ``max_cost``, and this type no price.

        Notes
        -----
        Instances that run go on; so a day may cost more than its cap by what runs at that time.
        """
        settings = self._settings
        max_hours, max_cost = settings.max_instance_hours, settings.max_cost
        if max_hours is None and max_cost is None:
            return
        if max_cost is not None and settings.price(kind, is_spot=is_spot) is None:
            reason = f"there is no price of {kind}, which max_cost needs"
            raise WorkerSetupError(reason, "Add it to price_per_hour")
        usage = self._used(is_writing=True)
        if max_hours is not None and usage.hours >= max_hours:
            raise _spent(f"{max_hours:g} instance-hours")
        if max_cost is not None and usage.cost >= max_cost:
            raise _spent(f"{max_cost:g} of max_cost")

    def launched(self, instance: Seen) -> None:
        """Note a launch; a failure is logged, and `settle` notes it again."""
        self._note(lambda: [self._launch_line(instance)])

    def ended(self, instance_id: str) -> None:
        """Note that an instance has ended; again is as good as once, a failure as for a launch."""
        self._note(lambda: [self._end_line(instance_id)] if self._runs(instance_id) else [])

    def settle(self, running: Iterable[Seen], as_of: datetime) -> None:
        """Have the ledger agree with what EC2 describes.

        An instance that runs and that nobody noted, since its dispatcher died in between, is
        noted; one that is gone is closed, unless it was launched within the last two minutes.

        Parameters
        ----------
        running : iterable of Seen
            All instances of the event that are pending or running.
        as_of : datetime
            When that was asked for: what was noted since then stays as it is.
        """
        known = {one.id: one for one in running}
        self._note(lambda: self._differences(known, as_of))

    def today(self) -> Usage:
        """Tell what has been used of this UTC day.

        Raises
        ------
        ResourceUnavailableError
            The file cannot be read.
        """
        return self._used(is_writing=False)

    def forecast(self) -> str | None:
        """Tell what has been used today, of what, and when that is reached; None: no budget.

        Raises
        ------
        ResourceUnavailableError
            As for `today`.
        """
        caps = (self._settings.max_instance_hours, self._settings.max_cost)
        if caps == (None, None):
            return None
        usage, now = self.today(), self._clock()
        parts = [
            f"{what} {used:.{digits}f} of {cap:g}{_reached(used, cap, rate, now)}"
            for used, cap, rate, what, digits in (
                (usage.hours, caps[0], float(usage.n_running), "instance-hours", 1),
                (usage.cost, caps[1], usage.cost_per_hour, "cost", 2),
            )
            if cap is not None
        ]
        return f"today (UTC): {', '.join(parts)}; {usage.n_running} instances run"

    # The file

    def _used(self, *, is_writing: bool) -> Usage:
        """Read what there is; when an instance is to be launched, that can be noted as well."""
        try:
            with self._lock, self._opened() if is_writing else self._read():
                return self._usage(self._clock())
        except OSError as error:
            raise _unusable(self.path, error) from error

    @contextmanager
    def _opened(self) -> Iterator[BinaryIO]:
        """Open the file, nobody else writing, with all of it known; made where it is missing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._catch_up(file)
            yield file

    @contextmanager
    def _read(self) -> Iterator[None]:
        """Know all of the file, as who may not write it does; where it is missing it stays so."""
        with suppress(FileNotFoundError), self.path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            self._catch_up(file)
        yield

    def _catch_up(self, file: BinaryIO) -> None:
        status = os.fstat(file.fileno())
        inode, offset = self._read_from
        if inode != status.st_ino or offset > status.st_size:  # another file than before
            self._stays, offset = {}, 0
        file.seek(offset)
        read = file.read()
        whole = read[: read.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(line)
        self._read_from = (status.st_ino, offset + len(whole))
        self._forget_old()

    def _note(self, make: Callable[[], list[dict[str, Any]]]) -> None:
        try:
            with self._lock, self._opened() as file:
                lines = make()
                if lines:
                    self._append(file, lines)
        except OSError as error:
            logger.warning("%s", _unusable(self.path, error))

    def _append(self, file: BinaryIO, lines: list[dict[str, Any]]) -> None:
        text = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        is_torn = file.seek(0, os.SEEK_END) > self._read_from[1]  # its writer was killed
        file.write((b"\n" if is_torn else b"") + text)
        file.flush()
        self._catch_up(file)

    def _take(self, line: bytes) -> None:
        """Take over what a line says; one that says nothing, as half a line, is left out."""
        try:
            said = json.loads(line)
            id_, what = str(said["instance"]), said["what"]
            at = datetime.fromisoformat(said["at"]).astimezone(UTC)
            if what == "launched":
                price = None if said["price"] is None else float(said["price"])
                stay = self._stays.setdefault(id_, _Stay(at, price))
                stay.end = None  # it was taken for ended and lives
            elif id_ in self._stays and self._stays[id_].end is None:
                self._stays[id_].end = at
        except (ValueError, KeyError, TypeError):
            logger.warning("a line of %s cannot be read, and is left out", self.path)

    def _forget_old(self) -> None:
        oldest = self._clock() - 2 * _DAY - self._longest
        self._stays = {
            id_: stay for id_, stay in self._stays.items() if stay.end is None or stay.end > oldest
        }

    # What it says

    def _launch_line(self, instance: Seen) -> dict[str, Any]:
        price = self._settings.price(instance.kind, is_spot=instance.is_spot)
        return {
            "at": instance.launched_at.astimezone(UTC).isoformat(),
            "what": "launched",
            "instance": instance.id,
            "type": instance.kind,
            "is_spot": instance.is_spot,
            "price": price,
        }

    def _end_line(self, instance_id: str) -> dict[str, Any]:
        return {"at": self._clock().isoformat(), "what": "ended", "instance": instance_id}

    def _runs(self, instance_id: str) -> bool:
        stay = self._stays.get(instance_id)
        return stay is not None and stay.end is None

    def _differences(self, known: Mapping[str, Seen], as_of: datetime) -> list[dict[str, Any]]:
        before = as_of - timedelta(seconds=UNSEEN_SECONDS)
        stays = self._stays.items()
        settled = {id_ for id_, stay in stays if stay.end is None or stay.end >= as_of}
        new = [self._launch_line(one) for id_, one in known.items() if id_ not in settled]
        running = {id_: stay.begin for id_, stay in stays if stay.end is None}
        gone = [id_ for id_, begin in running.items() if id_ not in known and begin < before]
        return [*new, *map(self._end_line, gone)]

    def _usage(self, now: datetime) -> Usage:
        day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        spent = [(stay.hours(day, now, self._longest), stay) for stay in self._stays.values()]
        running: Collection[_Stay] = [stay for _, stay in spent if stay.end is None]
        return Usage(
            hours=sum(hours for hours, _ in spent),
            cost=sum(hours * (stay.price or 0.0) for hours, stay in spent),
            n_running=len(running),
            cost_per_hour=sum(stay.price or 0.0 for stay in running),
        )


def forecast(config: Mapping[str, Any]) -> str | None:
    """Tell how the budget of an event stands: `BaseWorker.usage` of the worker."""
    settings = AWSWorkerConfig.of(config)
    return Ledger(Path(config["logs_dir"]), settings).forecast()


def _reached(used: float, cap: float, rate: float, now: datetime) -> str:
    """Tell when a cap is reached at so much an hour."""
    if used >= cap:
        return " (used up until 00:00 UTC)"
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
    if not rate or used + rate * ((midnight - now) / _HOUR) < cap:
        return " (not reached today at the present rate)"
    at = now.astimezone(UTC) + (cap - used) / rate * _HOUR
    return f" (reached at {at:%H:%M} UTC at the present rate)"


def _spent(what: str) -> ResourceUnavailableError:
    reason = f"the event's {what} of today are used up; more at 00:00 UTC"
    return ResourceUnavailableError(reason)


def _unusable(path: Path, error: OSError) -> ResourceUnavailableError:
    reason = f"{path}, which records what instances cost, cannot be used: {error.strerror or error}"
    return ResourceUnavailableError(reason, "Make room, or mend its permissions")
