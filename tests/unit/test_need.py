"""When an event needs a dispatcher: a decision about facts."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest

from ramp_database.schedule import EventSchedule
from ramp_engine.need import Need, need_of

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def need(
    opening: float | None = None,
    closing: float | None = None,
    *,
    has_open: bool = False,
    quiet: float = math.inf,
) -> Need:
    """Decide for an event that opens and closes so many seconds from now."""
    times = [None if one is None else NOW + timedelta(seconds=one) for one in (opening, closing)]
    schedule = EventSchedule(NOW, times[0], times[1], has_open)
    return need_of(schedule, quiet_seconds=quiet, linger_seconds=60.0)


def test_an_event_without_times_always_needs_one() -> None:
    assert need() is Need.OPEN


@pytest.mark.parametrize(
    ("opening", "expected"), [(0.001, Need.NOT_OPEN_YET), (0.0, Need.OPEN), (-1.0, Need.OPEN)]
)
def test_an_event_needs_one_from_the_moment_at_which_it_opens(
    opening: float, expected: Need
) -> None:
    assert need(opening) is expected
    assert need(opening, 1000.0) is expected


@pytest.mark.parametrize(
    ("closing", "expected"),
    [(0.001, Need.OPEN), (0.0, Need.LINGERING), (-59.9, Need.LINGERING), (-60.0, Need.CLOSED)],
)
def test_it_is_kept_for_a_while_after_the_event_closed(closing: float, expected: Need) -> None:
    assert need(closing=closing) is expected
    assert need(-1000.0, closing) is expected


@pytest.mark.parametrize(
    ("opening", "closing"), [(3600.0, None), (3600.0, 7200.0), (None, -0.1), (-9e6, -8e6)]
)
def test_open_submissions_need_one_whatever_the_time(
    opening: float | None, closing: float | None
) -> None:
    assert need(opening, closing, has_open=True) is Need.WORK


@pytest.mark.parametrize(("quiet", "expected"), [(59.9, Need.LINGERING), (60.0, Need.CLOSED)])
def test_it_is_kept_for_a_while_after_the_last_late_submission(
    quiet: float, expected: Need
) -> None:
    assert need(closing=-9e6, quiet=quiet) is expected


def test_lingering_keeps_and_does_not_start() -> None:
    starts = {one for one in Need if one.is_start}
    ends = {one for one in Need if one.is_end}
    assert starts == {Need.WORK, Need.OPEN}
    assert ends == {Need.CLOSED, Need.NOT_OPEN_YET}
