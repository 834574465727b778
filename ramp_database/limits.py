"""When, how often and how large a team may submit: the limits of an event.

They hold inside the submission's transaction, by the database's clock, while the row of the team's
sign-up is locked: of two submissions at once the second sees the first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from ramp_database.errors import SubmissionRejectedError
from ramp_database.model import Event, Submission
from ramp_database.states import State

_DAY = timedelta(hours=24)


@dataclass(frozen=True)
class EventLimits:
    """The limits of an event; None for none."""

    opening_at: datetime | None = None  #: aware; submissions are taken from then on
    closing_at: datetime | None = None  #: aware; until then
    max_submissions_per_day: int | None = None  #: of a team, in any 24 hours
    min_seconds_between_submissions: float | None = None  #: of a team
    max_submission_mb: float | None = None  #: of all files together, in MB of 1024 KB
    fair_share_window_hours: int | None = None  #: see `ramp_database.queue.turns`

    @classmethod
    def of(cls, event: Event) -> EventLimits:
        """Read those of a deployed event."""
        return cls(**{field.name: getattr(event, field.name) for field in fields(cls)})


def check_limits(session: Session, event: Event, team_id: int, n_bytes: int, now: datetime) -> None:
    """Check that a team may submit now; the row of its sign-up must be locked.

    Parameters
    ----------
    session : Session
    event : Event
    team_id : int
    n_bytes : int
        Size of the files together.
    now : datetime
        The database's time, read under the lock.

    Raises
    ------
    SubmissionRejectedError
        With the time from which the team may come back, where there is one.
    """
    limits = EventLimits.of(event)
    _check_size(limits, n_bytes)
    _check_times(limits, now)
    waits = [_wait_of_day, _wait_of_pause]
    found = [wait for one in waits if (wait := one(session, event.id, team_id, limits, now))]
    if found:
        retry_at, reason = max(found)
        raise _rejection(limits, reason, retry_at)


def _check_size(limits: EventLimits, n_bytes: int) -> None:
    largest = limits.max_submission_mb
    if largest is not None and n_bytes > largest * 2**20:
        raise SubmissionRejectedError(
            f"its files hold {n_bytes / 2**20:.2f} MB, the event takes up to {largest:g} MB",
            "Make them smaller",
        )


def _check_times(limits: EventLimits, now: datetime) -> None:
    if limits.opening_at is not None and now < limits.opening_at:
        raise _rejection(limits, "the event is not open yet", limits.opening_at)
    if limits.closing_at is not None and now >= limits.closing_at:
        raise SubmissionRejectedError(f"the event closed at {_shown(limits.closing_at)}")


_Wait = tuple[datetime, str]


def _wait_of_day(
    session: Session, event_id: int, team_id: int, limits: EventLimits, now: datetime
) -> _Wait | None:
    most = limits.max_submissions_per_day
    if most is None:
        return None
    times = _newest(session, event_id, team_id, most, Submission.submitted_at > now - _DAY)
    if len(times) < most:
        return None
    return times[-1] + _DAY, f"a team may submit {most} times in 24 hours"


def _wait_of_pause(
    session: Session, event_id: int, team_id: int, limits: EventLimits, now: datetime
) -> _Wait | None:
    seconds = limits.min_seconds_between_submissions
    times = _newest(session, event_id, team_id, 1) if seconds else []
    if not times or not seconds:
        return None
    retry_at = times[0] + timedelta(seconds=seconds)
    reason = f"a team may submit every {timedelta(seconds=seconds)} (hours:minutes:seconds)"
    return (retry_at, reason) if retry_at > now else None


def _newest(
    session: Session, event_id: int, team_id: int, n: int, *where: ColumnElement[bool]
) -> list[datetime]:
    """Give when the team submitted last, the newest first; what we failed to evaluate is left out.

    A submission that crashed and is tried again counts once, as its code is evaluated.
    """
    query = (
        select(Submission.submitted_at)
        .where(Submission.event_id == event_id, Submission.team_id == team_id, *where)
        .where(Submission.state != State.CHECKING_ERROR)
        .order_by(Submission.submitted_at.desc())
        .limit(n)
    )
    return list(session.scalars(query))


def _rejection(limits: EventLimits, reason: str, retry_at: datetime) -> SubmissionRejectedError:
    closing_at = limits.closing_at
    if closing_at is not None and retry_at >= closing_at:
        hint = f"The event closes at {_shown(closing_at)}, before you may submit again"
        return SubmissionRejectedError(reason, hint)
    return SubmissionRejectedError(reason, f"Come back at {_shown(retry_at)}", retry_at)


def _shown(time: datetime) -> str:
    """Write a time for people: in UTC, rounded up to a second, so that it is never too early."""
    up = time + timedelta(microseconds=999_999)
    return f"{up:%Y-%m-%d %H:%M:%S} UTC"


def differences(one: EventLimits, other: EventLimits) -> Iterable[str]:
    """Give the names of the fields in which two differ."""
    return [
        field.name
        for field in fields(EventLimits)
        if getattr(one, field.name) != getattr(other, field.name)
    ]
