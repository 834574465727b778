"""Whether an event needs a dispatcher now: a decision about facts, for the daemon."""

from __future__ import annotations

from enum import StrEnum

from ramp_database.schedule import EventSchedule

__all__ = ["Need", "need_of"]


class Need(StrEnum):
    """Whether an event needs a dispatcher, and why."""

    WORK = "submissions are open"
    OPEN = "the event is open"
    LINGERING = "the event closed lately"  #: one that runs stays, none is started
    NOT_OPEN_YET = "the event is not open yet"
    CLOSED = "the event is closed and nothing is open"

    @property
    def is_start(self) -> bool:
        """Whether a dispatcher is to be started where none runs."""
        return self in (Need.WORK, Need.OPEN)

    @property
    def is_end(self) -> bool:
        """Whether a dispatcher that runs is to end."""
        return self in (Need.NOT_OPEN_YET, Need.CLOSED)


def need_of(event: EventSchedule, *, quiet_seconds: float, linger_seconds: float) -> Need:
    """Decide whether an event needs a dispatcher.

    Parameters
    ----------
    event : EventSchedule
    quiet_seconds : float
        For how long none of its submissions has been seen open.
    linger_seconds : float
        For so long after the closing time, and after the last open submission, a dispatcher that
        runs is kept: what an organiser reopens then starts at once.

    Returns
    -------
    Need
        Open submissions count before any time: they are evaluated also before the event opens and
        long after it closed, when an organiser reopens one.
    """
    if event.has_open:
        return Need.WORK
    if event.opening_at is not None and event.now < event.opening_at:
        return Need.NOT_OPEN_YET
    if event.closing_at is None or event.now < event.closing_at:
        return Need.OPEN
    closed_seconds = (event.now - event.closing_at).total_seconds()
    if min(closed_seconds, quiet_seconds) < linger_seconds:
        return Need.LINGERING
    return Need.CLOSED
