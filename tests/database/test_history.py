"""What is read about the way of a submission, and about the life of dispatchers."""

from __future__ import annotations

import pytest

from ramp_database import clock, dispatchers, history, presence, queue
from ramp_database.errors import NotFoundError, TransitionError
from ramp_database.history import History
from ramp_database.states import State
from tests.database.conftest import STALE_SECONDS, Toy


def read(toy: Toy, submission_id: int) -> History:
    with toy.session() as session:
        return history.read(session, submission_id)


@pytest.mark.parametrize("state", list(State))
def test_every_state_has_a_history_that_leads_to_it(toy: Toy, state: State) -> None:
    claim = toy.bring_to(state)
    found = read(toy, claim.submission_id)
    assert (found.state, found.steps[-1].to_state) == (state, state)
    assert found.steps[0].from_state is None
    for one, following in zip(found.steps, found.steps[1:], strict=False):
        assert one.to_state is following.from_state
        assert one.at <= following.at <= found.read_at
    assert [one.number for one in found.attempts] == ([1] if claim.attempt else [])
    assert set(found.dispatchers) == ({claim.dispatcher_id} if claim.attempt else set())


def test_a_submission_that_is_not_there_is_said(toy: Toy) -> None:
    with pytest.raises(NotFoundError):
        read(toy, 999)


def test_how_an_attempt_is_confined_is_known_while_it_runs_and_stays_when_it_is_rescued(
    toy: Toy,
) -> None:
    claim = toy.bring_to(State.SENT_TO_TRAINING)
    assert read(toy, claim.submission_id).attempts[0].confinement is None, "not before it starts"
    toy.do(queue.start, claim, None, None, "started, confined by landlock", "landlock")
    assert read(toy, claim.submission_id).attempts[0].confinement == "landlock"
    toy.do(queue.crash, claim, "broken", 3)
    found = read(toy, claim.submission_id)
    assert (found.attempts[0].outcome, found.attempts[0].confinement) == ("crashed", "landlock")


def test_of_a_worker_that_does_not_say_it_is_not_known(toy: Toy) -> None:
    claim = toy.bring_to(State.SCORED)
    assert [one.confinement for one in read(toy, claim.submission_id).attempts] == [None]


def test_the_place_counts_those_that_are_claimed_before(toy: Toy) -> None:
    first, second, third = toy.submit(), toy.submit(), toy.submit()
    assert [read(toy, one).n_ahead for one in (first, second, third)] == [0, 1, 2]
    (claim,) = toy.claim()
    assert [read(toy, one).n_ahead for one in (first, second, third)] == [0, 0, 1]
    toy.do(queue.crash, claim, "broken", 3)
    assert read(toy, third).n_ahead == 1, "one that is delayed is not claimed before"
    assert read(toy, first).not_before is not None


def test_a_dispatcher_lives_as_long_as_its_heartbeat_is_fresh(toy: Toy) -> None:
    number = toy.dispatcher()
    (submission,) = [toy.submit()]
    toy.claim(number)
    assert read(toy, submission).dispatchers[number].is_live
    with clock.shifted(STALE_SECONDS + 1):
        found = read(toy, submission)
        assert found.dispatchers[number].is_stale
        assert found.live_dispatchers == ()
    toy.do(dispatchers.deregister, number)
    found = read(toy, submission)
    assert not found.dispatchers[number].is_live
    assert not found.dispatchers[number].is_stale
    assert found.dispatchers[number].ended_reason == "ended"


def test_dispatchers_of_an_event_are_those_that_have_not_ended(toy: Toy) -> None:
    one, other = toy.dispatcher(), toy.dispatcher()
    toy.do(dispatchers.deregister, one)
    with toy.session() as session:
        assert [found.id for found in presence.of_event(session, toy.event_id)] == [other]
        assert set(presence.of_numbers(session, [one, other, 999])) == {one, other}


def test_a_history_costs_the_same_however_long_it_is(toy: Toy, statements: list[str]) -> None:
    claim = toy.bring_to(State.SCORED)
    statements.clear()
    read(toy, claim.submission_id)
    n_statements = len(statements)
    for _ in range(3):
        toy.do(queue.reopen, claim.submission_id, "again")
        (again,) = toy.claim(claim.dispatcher_id)
        toy.do(queue.release, again, "shutdown")
        toy.do(queue.cancel, claim.submission_id, "no more")
    statements.clear()
    assert len(read(toy, claim.submission_id).attempts) == 4
    assert len(statements) == n_statements


@pytest.mark.parametrize("state", sorted(State))
def test_refusals_say_what_to_do(toy: Toy, state: State) -> None:
    claim = toy.bring_to(state)
    operation, words = (
        (queue.cancel, "ended already")
        if state.is_final
        else (queue.reopen, "ramp explain" if state is State.NEW else "ramp cancel")
    )
    with pytest.raises(TransitionError, match=words):
        toy.do(operation, claim.submission_id, "reason")
