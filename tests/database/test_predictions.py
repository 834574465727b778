"""Whose predictions may be deleted: by state, team, number and age, and never of what runs."""

from __future__ import annotations

import pytest

from ramp_database import clock, predictions, queue
from ramp_database.errors import NotFoundError
from ramp_database.predictions import Selection
from ramp_database.states import FINAL, State
from ramp_database.testing import add_toy_event
from tests.database.conftest import Toy

DAY = 86400.0


def selected(toy: Toy, **wanted: object) -> list[int]:
    with toy.session() as session:
        chosen = Selection(**wanted)  # type: ignore[arg-type]
        found = predictions.select_finished(session, toy.event_id, chosen)
    return [id_ for id_, _ in found]


def scored(toy: Toy, team: str = "team") -> int:
    id_ = toy.submit(team)
    toy.score(id_, 0.5)
    return id_


def test_only_finished_submissions_are_selected(toy: Toy) -> None:
    ids = {state: toy.bring_to(state).submission_id for state in State}
    canceled = {id_ for id_ in selected(toy) if id_ not in ids.values()}
    assert all(toy.row(id_).state is State.CANCELED for id_ in canceled)
    assert {state for state, id_ in ids.items() if id_ in selected(toy)} >= FINAL
    assert selected(toy, states={State.SCORED}) == [ids[State.SCORED]]
    assert selected(toy, states=set(State) - FINAL) == []


def test_all_that_is_given_must_hold(toy: Toy) -> None:
    red, blue, other = scored(toy, "red"), scored(toy, "blue"), scored(toy, "blue")
    assert selected(toy, teams=["blue"]) == [blue, other]
    assert selected(toy, teams=["red", "blue"], submission_ids=[red, other]) == [red, other]
    assert selected(toy, teams=["red"], submission_ids=[other]) == []


def test_the_age_counts_from_the_end_of_the_newest_attempt(toy: Toy) -> None:
    old, renewed = scored(toy), scored(toy)
    with clock.shifted(10 * DAY):
        assert selected(toy, min_age_days=9) == [old, renewed]
        assert selected(toy, min_age_days=11) == []
        toy.do(queue.reopen, renewed, "again")
        toy.score(renewed, 0.5)
        assert selected(toy, min_age_days=9) == [old]


def test_what_is_none_of_the_events_is_told(toy: Toy) -> None:
    id_ = scored(toy)
    with pytest.raises(NotFoundError, match="nobody"):
        selected(toy, teams=["nobody"])
    with toy.session() as session:
        other = add_toy_event(session, "other").id
        with pytest.raises(NotFoundError):
            predictions.select_finished(session, other, Selection(submission_ids=[id_]))


def test_a_deletion_is_recorded_of_what_is_finished_and_not_evaluated_anew(toy: Toy) -> None:
    claim = toy.bring_to(State.TESTED)
    id_ = claim.submission_id
    assert toy.do(predictions.record_deletion, id_, 1) is False
    assert toy.do(predictions.deleted_at, id_, 1) is None
    toy.do(queue.fail, claim, State.TESTING_ERROR, "wrong", "failed")
    assert toy.do(predictions.record_deletion, id_, 2) is False
    assert toy.do(predictions.record_deletion, id_, 1) is True
    first = toy.do(predictions.deleted_at, id_, 1)
    assert toy.row(id_).state is State.TESTING_ERROR
    toy.do(queue.reopen, id_, "again")
    assert toy.do(predictions.deleted_at, id_, 1) == first
    assert toy.do(predictions.deleted_at, id_, 2) is None
