"""The limits of an event that chaos shortens, so that faults are noticed within seconds."""

from __future__ import annotations

from typing import Any

from ramp_database.queue.returning import FIRST_DELAY_SECONDS
from ramp_engine.config_sections import DispatcherSection
from ramp_engine.rehearsal.plan import SLOW_CALL_SECONDS

__all__ = ["RETRY_DELAY_SECONDS", "chaotic_limits", "told_changes"]

#: Delay after the first crash of a submission, in seconds.
RETRY_DELAY_SECONDS = 0.25
#: A run may take so many times the average of those that end.
_TIMEOUT_FACTOR = 4.0
_SHORTEST_TIMEOUT_SECONDS = 3.0
_LONGEST = {
    "heartbeat_seconds": 0.4,
    "stale_after_seconds": 3.0,
    "stalled_after_seconds": 2.0,
    "hung_after_seconds": 2 * SLOW_CALL_SECONDS,
}


def chaotic_limits(section: DispatcherSection, seconds: float) -> dict[str, Any]:
    """Give the keys of a section ``dispatcher`` that chaos changes, with their values.

    Parameters
    ----------
    section : DispatcherSection
        The event's.
    seconds : float
        That a run takes on average.
    """
    wanted = _LONGEST | {"timeout": max(_SHORTEST_TIMEOUT_SECONDS, _TIMEOUT_FACTOR * seconds)}
    return {key: value for key, value in wanted.items() if getattr(section, key) > value}


def told_changes(section: DispatcherSection, changed: dict[str, Any]) -> list[str]:
    """Say what is shorter than it will be at the event, a line each."""
    told = [
        f"{key}: {value:g} instead of {getattr(section, key):g} s" for key, value in changed.items()
    ]
    if changed:
        told.append(
            f"wait after a crash: from {RETRY_DELAY_SECONDS:g} instead of {FIRST_DELAY_SECONDS:g} s"
        )
    return told
