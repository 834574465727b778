"""What the daemon asks the database: how the events stand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ramp_database import clock, events
from ramp_database.limits import EventLimits
from ramp_database.schedule import schedules
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_event
from tests.database.conftest import Toy


@pytest.mark.parametrize("state", State)
def test_what_has_not_reached_a_final_state_is_open(toy: Toy, state: State) -> None:
    toy.bring_to(state)
    assert toy.do(schedules)[TOY].has_open is not state.is_final


def test_the_times_are_those_of_the_event_and_of_the_clock(toy: Toy) -> None:
    with toy.session() as session:
        now = clock.read(session)
        limits = EventLimits(opening_at=now, closing_at=now + timedelta(hours=1))
        events.set_limits(session, TOY, limits)
        add_toy_event(session, "another")
    before, other = (toy.do(schedules)[name] for name in (TOY, "another"))
    assert (before.opening_at, before.closing_at) == (limits.opening_at, limits.closing_at)
    assert (other.opening_at, other.closing_at, other.has_open) == (None, None, False)
    with clock.shifted(7200.0):
        after = toy.do(schedules)[TOY]
    assert now <= before.now
    assert after.now - before.now >= timedelta(hours=2)


def test_all_events_are_asked_for_at_once(toy: Toy, statements: list[str]) -> None:
    for number in range(3):
        toy.do(add_toy_event, f"event_{number}")
    toy.submit()
    statements.clear()
    found = toy.do(schedules)
    assert {name: one.has_open for name, one in found.items()} == {
        TOY: True,
        **{f"event_{number}": False for number in range(3)},
    }
    assert len(statements) == 1
