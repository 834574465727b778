"""Claims, transitions, and what refuses them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from ramp_database import clock, dispatchers, events, history, queue
from ramp_database.errors import ClaimLostError, DatabaseError, NotFoundError, TransitionError
from ramp_database.model import BaggedScore, FoldScore, FoldTime
from ramp_database.queue import Claim
from ramp_database.states import FINAL, OWNED, PARTICIPANT_ERRORS, TRANSITIONS, State
from ramp_database.testing import TOY, toy_results, toy_spec
from tests.database.conftest import Toy

Operation = Callable[[Toy, Claim], Any]

#: What a dispatcher does with its claim, and the states from which it may.
BY_OWNER: dict[str, tuple[Operation, frozenset[State], State]] = {
    "start": (
        lambda toy, claim: toy.do(queue.start, claim, "pid 7"),
        frozenset({State.SENT_TO_TRAINING}),
        State.TRAINING,
    ),
    "finish": (
        lambda toy, claim: toy.do(queue.finish, claim),
        frozenset({State.TRAINING}),
        State.TESTED,
    ),
    "score": (
        lambda toy, claim: toy.do(queue.score, claim, toy_results(0.5)),
        frozenset({State.TESTED}),
        State.SCORED,
    ),
    "crash": (lambda toy, claim: toy.do(queue.crash, claim, "broken", 3), OWNED, State.NEW),
    "last crash": (
        lambda toy, claim: toy.do(queue.crash, claim, "broken", 1),
        OWNED,
        State.CHECKING_ERROR,
    ),
    "release": (lambda toy, claim: toy.do(queue.release, claim, "shutdown"), OWNED, State.NEW),
    "cancel": (
        lambda toy, claim: toy.do(queue.acknowledge_cancel, claim),
        OWNED,
        State.CANCELED,
    ),
    **{
        f"fail as {state}": (
            lambda toy, claim, state=state: toy.do(queue.fail, claim, state, "wrong", "failed"),
            OWNED,
            state,
        )
        for state in sorted(PARTICIPANT_ERRORS)
    },
}


@pytest.mark.parametrize("operation", BY_OWNER)
def test_an_owner_moves_a_submission_from_the_states_that_allow_it(
    toy: Toy, operation: str
) -> None:
    operate, allowed, target = BY_OWNER[operation]
    for state in State:
        claim = toy.bring_to(state)
        before = toy.history(claim.submission_id)
        if state not in allowed:
            with pytest.raises((ClaimLostError, TransitionError)):
                operate(toy, claim)
            assert toy.row(claim.submission_id).state is state
            assert len(toy.history(claim.submission_id)) == len(before)
            continue
        operate(toy, claim)
        assert target in TRANSITIONS[state]
        assert toy.row(claim.submission_id).state is target
        assert (toy.row(claim.submission_id).dispatcher_id is None) == (target not in OWNED)
        *earlier, last = toy.history(claim.submission_id)
        assert len(earlier) == len(before)
        assert (last.from_state, last.to_state) == (state, target)
        assert (last.attempt, last.dispatcher_id) == (claim.attempt, claim.dispatcher_id)


@pytest.mark.parametrize("operation", BY_OWNER)
def test_who_lost_a_claim_records_nothing(toy: Toy, operation: str) -> None:
    operate, allowed, _ = BY_OWNER[operation]
    claim = toy.bring_to(min(allowed))
    toy.do(queue.set_state, claim.submission_id, State.NEW, "again")
    (other,) = toy.claim()
    before = toy.history(claim.submission_id)
    for lost in (
        claim,
        Claim(claim.submission_id, other.attempt, claim.dispatcher_id),
        Claim(claim.submission_id, claim.attempt, other.dispatcher_id),
        Claim(claim.submission_id + 1000, 1, claim.dispatcher_id),
    ):
        with pytest.raises(ClaimLostError):
            operate(toy, lost)
    assert len(toy.history(claim.submission_id)) == len(before)
    assert toy.row(claim.submission_id).state is State.SENT_TO_TRAINING


def test_a_claim_takes_the_oldest_first_and_no_more_than_there_are_slots(toy: Toy) -> None:
    ids = [toy.submit() for _ in range(5)]
    owner = toy.dispatcher()
    assert [claim.submission_id for claim in toy.claim(owner, 3)] == ids[:3]
    assert [claim.submission_id for claim in toy.claim(owner, 3)] == ids[3:]
    assert toy.claim(owner, 3) == []
    assert toy.claim(owner, 0) == []


def test_each_claim_is_a_new_attempt(toy: Toy) -> None:
    submission_id = toy.submit()
    for number in (1, 2):
        (claim,) = toy.claim()
        assert claim.attempt == number
        toy.do(queue.release, claim, "shutdown")
    assert [attempt.number for attempt in toy.attempts(submission_id)] == [1, 2]


def test_a_dispatcher_that_ended_claims_nothing(toy: Toy) -> None:
    toy.submit()
    owner = toy.dispatcher()
    toy.do(dispatchers.deregister, owner)
    assert toy.claim(owner) == []


def test_a_good_attempt_is_told_with_its_times_and_its_handle(toy: Toy) -> None:
    claim = toy.bring_to(State.NEW)
    (claim,) = toy.claim()
    toy.do(queue.start, claim, "pid 7")
    toy.do(queue.finish, claim)
    toy.do(queue.score, claim, toy_results(0.25, 0.125))
    (attempt,) = toy.attempts(claim.submission_id)
    assert attempt.handle == "pid 7"
    assert attempt.outcome == "succeeded"
    assert attempt.started_at
    assert attempt.finished_at
    assert attempt.claimed_at <= attempt.started_at <= attempt.finished_at
    row = toy.row(claim.submission_id)
    assert (row.public_score, row.private_score) == (0.25, 0.125)
    assert row.train_seconds == 2.0
    states = [step.to_state for step in toy.history(claim.submission_id)]
    assert states == ["new", "sent_to_training", "training", "tested", "scored"]


def test_a_claim_tells_whose_it_is_and_is_the_same_without_that(toy: Toy) -> None:
    submission_id = toy.submit("red", "one")
    (claim,) = toy.claim()
    assert (claim.team, claim.name) == ("red", "one")
    assert claim == Claim(submission_id, 1, claim.dispatcher_id)


def test_finishing_tells_the_bundle_that_is_deployed_by_then(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    with toy.session() as session:
        events.update_event(session, TOY, replace(toy_spec(), bundle_hash="another"))
    assert toy.do(queue.finish, claim) == "another"


def test_the_start_of_the_folds_is_known_while_they_run_and_afterwards(toy: Toy) -> None:
    claim = toy.bring_to(State.SENT_TO_TRAINING)

    def started_at() -> datetime | None:
        with toy.session() as session:
            (attempt,) = history.read(session, claim.submission_id).attempts
            return attempt.started_at

    assert started_at() is None
    toy.do(queue.start, claim)
    while_running = started_at()
    assert while_running is not None
    toy.do(queue.fail, claim, State.TRAINING_ERROR, "wrong", "failed")
    assert started_at() == while_running
    (attempt,) = toy.attempts(claim.submission_id)
    assert attempt.started_at == while_running


def test_crashes_are_counted_delayed_and_told_in_the_end(toy: Toy) -> None:
    submission_id = toy.submit()
    for n in (1, 2):
        (claim,) = toy.claim()
        expected = queue.retry_delay_seconds(n)
        earliest = toy.do(clock.read) + timedelta(seconds=expected)
        assert toy.do(queue.crash, claim, f"broken {n}", 3) is State.NEW
        latest = toy.do(clock.read) + timedelta(seconds=expected)
        not_before = toy.row(submission_id).not_before
        assert not_before is not None
        assert earliest <= not_before <= latest
        with clock.shifted(-expected):  # however long this test has taken
            assert toy.claim() == []
        with clock.shifted(expected):
            (claim,) = toy.claim()
            toy.do(queue.release, claim, "shutdown")
    (claim,) = toy.claim()
    assert toy.do(queue.crash, claim, "broken 3", 3) is State.CHECKING_ERROR
    error = toy.row(submission_id).error
    assert error is not None
    assert error.splitlines()[0] == "The platform failed, not your code: broken 3"
    for words in ("nothing for you to do", "broken 1", "broken 2", "broken 3", "shutdown"):
        assert words in error
    assert toy.row(submission_id).n_crashes == 3
    assert toy.row(submission_id).n_interruptions == 2


def test_the_delay_grows_and_has_a_bound() -> None:
    delays = [queue.retry_delay_seconds(n) for n in range(1, 100)]
    assert delays == sorted(delays)
    assert delays[0] == 5.0
    assert delays[-1] == 600.0


def test_interruptions_are_not_crashes_but_have_an_end(toy: Toy) -> None:
    submission_id = toy.submit()
    for _ in range(2):
        (claim,) = toy.claim()
        assert toy.do(queue.release, claim, "node reclaimed", 2) is State.NEW
    (claim,) = toy.claim()
    assert toy.do(queue.release, claim, "node reclaimed", 2) is State.CHECKING_ERROR
    assert toy.row(submission_id).n_crashes == 0
    assert "node reclaimed" in (toy.row(submission_id).error or "")


def test_one_that_waits_for_room_waits_as_long_as_it_takes_and_is_then_interrupted_as_others(
    toy: Toy,
) -> None:
    submission_id = toy.submit()
    release = partial(queue.release, is_delayed=True)
    for n in range(7):
        with clock.shifted(3600.0 * n):
            (claim,) = toy.claim()
            reason = "the budget of today is used up"
            assert toy.do(release, claim, reason, 2) is State.NEW
            assert toy.row(submission_id).not_before is not None
    assert toy.row(submission_id).n_interruptions == 1
    with clock.shifted(3600.0 * 8):
        (claim,) = toy.claim()
        toy.do(queue.start, claim)
        assert toy.do(release, claim, "node reclaimed", 2) is State.NEW
    with clock.shifted(3600.0 * 9):
        (claim,) = toy.claim()
        toy.do(queue.start, claim)
        assert toy.do(release, claim, "node reclaimed", 2) is State.CHECKING_ERROR


def test_a_waiting_submission_is_canceled_at_once(toy: Toy) -> None:
    submission_id = toy.submit()
    assert toy.do(queue.cancel, submission_id, "no more") is State.CANCELED
    row = toy.row(submission_id)
    assert (row.state, row.error) == (State.CANCELED, "no more")
    assert toy.claim() == []


def test_a_running_submission_gets_a_wish_that_its_owner_sees(toy: Toy) -> None:
    for state in sorted(OWNED):
        claim = toy.bring_to(state)
        assert not toy.do(queue.is_cancel_requested, claim)
        assert toy.do(queue.cancel, claim.submission_id, "no more") is state
        assert toy.do(queue.is_cancel_requested, claim)
        (owned,) = toy.do(queue.owned, claim.dispatcher_id)
        assert (owned.claim, owned.state, owned.is_cancel_requested) == (claim, state, True)
        assert owned.cancel_reason == "no more"
        toy.do(queue.acknowledge_cancel, claim)
        assert toy.row(claim.submission_id).cancel_requested_at is None
        with pytest.raises(ClaimLostError):
            toy.do(queue.is_cancel_requested, claim)


@pytest.mark.parametrize("give_back", [queue.crash, queue.release])
def test_what_was_to_be_canceled_is_not_tried_again(
    toy: Toy, give_back: Callable[..., State]
) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.cancel, claim.submission_id, "no more")
    assert toy.do(give_back, claim, "shutdown", 3) is State.CANCELED


def test_what_has_ended_cannot_be_canceled(toy: Toy) -> None:
    for state in FINAL:
        claim = toy.bring_to(state)
        with pytest.raises(TransitionError, match="cannot become 'canceled'"):
            toy.do(queue.cancel, claim.submission_id, "no more")


def test_only_what_has_ended_is_reopened(toy: Toy) -> None:
    for state in State:
        claim = toy.bring_to(state)
        if not state.is_final:
            with pytest.raises(TransitionError):
                toy.do(queue.reopen, claim.submission_id, "again")
            continue
        before = toy.history(claim.submission_id)
        toy.do(queue.reopen, claim.submission_id, "again")
        row = toy.row(claim.submission_id)
        assert row.state is State.NEW
        assert (row.error, row.outcome, row.n_crashes) == (None, None, 0)
        assert len(toy.history(claim.submission_id)) == len(before) + 1
        (again,) = toy.claim()
        assert again.attempt == claim.attempt + 1


def test_a_reopened_submission_has_no_scores(toy: Toy) -> None:
    claim = toy.bring_to(State.SCORED)
    toy.do(queue.reopen, claim.submission_id, "again")
    row = toy.row(claim.submission_id)
    assert (row.public_score, row.public_order, row.train_seconds) == (None, None, None)
    with toy.session() as session:
        for table in (FoldScore, FoldTime, BaggedScore):
            assert session.scalar(select(func.count()).select_from(table)) == 0
    toy.score(claim.submission_id, 0.75)
    assert toy.row(claim.submission_id).public_score == 0.75


@pytest.mark.parametrize("target", list(State))
def test_an_organiser_sets_what_is_an_organisers_to_set(toy: Toy, target: State) -> None:
    for state in State:
        claim = toy.bring_to(state)
        if target not in TRANSITIONS[state] or target in OWNED | {State.SCORED}:
            with pytest.raises(TransitionError):
                toy.do(queue.set_state, claim.submission_id, target, "by hand")
            assert toy.row(claim.submission_id).state is state
            continue
        toy.do(queue.set_state, claim.submission_id, target, "by hand")
        row = toy.row(claim.submission_id)
        assert (row.state, row.dispatcher_id) == (target, None)
        assert toy.history(claim.submission_id)[-1].reason == "by hand"
        with pytest.raises(ClaimLostError):
            toy.do(queue.release, claim, "shutdown")


def test_a_long_story_of_the_platform_tells_its_begin_and_its_end(toy: Toy) -> None:
    submission_id, n_attempts = toy.submit(), 9
    for n in range(1, n_attempts + 1):
        with clock.shifted(3600.0 * n):
            (claim,) = toy.claim()
            toy.do(queue.crash, claim, f"broken {n}\ntrace\n{'x' * 1000}", n_attempts)
    error = toy.row(submission_id).error or ""
    assert [n for n in range(1, 10) if f"broken {n}" in error] == [1, 2, 3, 7, 8, 9]
    assert "3 attempts left out" in error
    assert "trace" not in error
    assert len(error.splitlines()) == 9


def test_an_unknown_submission_is_told(toy: Toy) -> None:
    for operation in (queue.cancel, queue.reopen):
        with pytest.raises(NotFoundError, match="no submission 77"):
            toy.do(operation, 77, "no more")


def test_a_failure_must_be_the_participants(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    with pytest.raises(TransitionError):
        toy.do(queue.fail, claim, State.CHECKING_ERROR, "wrong", "failed")


def test_texts_that_databases_refuse_are_stored_without_what_cannot_be(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.fail, claim, State.TRAINING_ERROR, "a\0b\ud800c" + "x" * 200_000, "failed")
    error = toy.row(claim.submission_id).error
    assert error is not None
    assert error.startswith("a�b�cx")
    assert "left out" in error
    assert len(error) < 60_000


def test_results_of_other_score_types_are_refused_and_nothing_is_recorded(toy: Toy) -> None:
    claim = toy.bring_to(State.TESTED)
    with pytest.raises(DatabaseError, match="score types"):
        toy.do(queue.score, claim, toy_results(0.5, names=("nll",)))
    assert toy.row(claim.submission_id).state is State.TESTED


def test_what_is_open_and_who_owns_it_can_be_told(toy: Toy) -> None:
    for state in (*FINAL, *OWNED, State.NEW):
        toy.bring_to(state)
    with toy.session() as session:
        assert queue.count_open(session, toy.event_id) == 4
        assert len(queue.owned_of_event(session, toy.event_id)) == 3
        assert queue.owned_of_event(session, toy.event_id + 1) == []


def test_a_submission_costs_few_statements(toy: Toy, statements: list[str]) -> None:
    toy.submit()
    owner = toy.dispatcher()
    statements.clear()
    (claim,) = toy.claim(owner, 4)
    counts = {"claim": len(statements)}
    for name in ("start", "finish", "score"):
        statements.clear()
        BY_OWNER[name][0](toy, claim)
        counts[name] = len(statements)
    statements.clear()
    assert toy.claim(owner, 4) == []
    counts["idle"] = len(statements)
    assert counts == {"claim": 3, "start": 3, "finish": 2, "score": 9, "idle": 1}
