"""What `ramp status` tells of those who wait."""

from __future__ import annotations

from typing import Any

import pytest

from ramp_database import clock, dispatchers, queue
from ramp_database.states import State
from ramp_database.status import event_status
from tests.database.conftest import Toy


def rows(toy: Toy) -> dict[int, dict[str, Any]]:
    with toy.database.session(read_only=True) as session:
        return {row["id"]: row for row in event_status(session, toy.event_id)["submissions"]}


def reasons(toy: Toy, *ids: int) -> list[str]:
    found = rows(toy)
    return [found[id_]["waiting_reason"] for id_ in ids]


def test_places_are_those_in_which_submissions_are_claimed(toy: Toy) -> None:
    ids = [toy.submit(team) for team in ("red", "red", "red", "blue")]
    found = rows(toy)
    assert [found[id_]["queue_place"] for id_ in ids] == [1, 3, 4, 2]
    owner = toy.dispatcher()
    assert [toy.claim(owner)[0].submission_id for _ in ids] == [ids[0], ids[3], ids[1], ids[2]]


def test_without_a_live_dispatcher_that_is_the_reason(toy: Toy) -> None:
    waiting = toy.submit()
    assert reasons(toy, waiting) == ["no_dispatcher"]
    toy.dispatcher()
    assert reasons(toy, waiting) == ["starting"]
    with clock.shifted(3600):
        assert reasons(toy, waiting) == ["no_dispatcher"]


def test_the_reason_is_a_slot_the_others_turn_or_a_delay(toy: Toy) -> None:
    owner = toy.dispatcher()
    toy.submit("red")
    toy.claim(owner)
    old, young = toy.submit("red"), toy.submit("blue")
    assert reasons(toy, young, old) == ["no_free_slot", "teams_turn"]
    (claim,) = toy.claim(owner)
    toy.do(queue.crash, claim, "broken", 3)
    row = rows(toy)[claim.submission_id]
    assert (row["waiting_reason"], row["queue_place"]) == ("delayed", None)
    assert row["not_before"]


def test_who_is_scored_has_left_its_slot_to_those_who_wait(toy: Toy) -> None:
    owner = toy.dispatcher()
    claim = toy.bring_to(State.TRAINING)
    with clock.shifted(100):
        toy.do(queue.fail, claim, State.TRAINING_ERROR, "wrong", "failed")
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    toy.submit()
    (scored,) = toy.claim(owner)
    toy.do(queue.start, scored)
    waiting = toy.submit()
    now = rows(toy)[waiting]
    assert now["waiting_reason"] == "no_free_slot"
    toy.do(queue.finish, scored)
    row = rows(toy)[waiting]
    assert row["waiting_reason"] == "starting"
    assert row["expected_start_at"] < now["expected_start_at"]


def test_start_and_end_are_estimated_from_past_runs_and_slots(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    with clock.shifted(100):
        toy.do(queue.fail, claim, State.TRAINING_ERROR, "wrong", "failed")
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    first, second, third = (toy.submit() for _ in range(3))
    assert rows(toy)[first]["expected_start_at"] is None
    with toy.session() as session:
        dispatchers.register(session, toy.event_id, "host", 1, n_workers=2)
    found = rows(toy)
    one, two, three = (found[id_] for id_ in (first, second, third))
    assert one["expected_start_at"] == two["expected_start_at"]
    assert one["expected_end_at"] == three["expected_start_at"] > one["expected_start_at"]
    assert found[claim.submission_id]["queue_place"] is None


@pytest.mark.parametrize("state", [State.SCORED, State.TRAINING])
def test_who_does_not_wait_has_no_place(toy: Toy, state: State) -> None:
    submission_id = toy.bring_to(state).submission_id
    row = rows(toy)[submission_id]
    names = ("queue_place", "waiting_reason", "expected_start_at", "expected_end_at")
    assert {row[name] for name in names} == {None}
