"""Heartbeats, and what becomes of the submissions of dispatchers that died."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from ramp_database import clock, dispatchers, queue
from ramp_database.errors import ClaimLostError
from ramp_database.model import Dispatcher
from ramp_database.queue import Claim, Rescued
from ramp_database.session import Database
from ramp_database.states import OWNED, State
from ramp_database.testing import toy_results
from tests.database.conftest import STALE_SECONDS, Toy

MAX_ATTEMPTS = 3


def rescue(toy: Toy, rescuer: int) -> Rescued:
    found = toy.do(queue.rescue, toy.event_id, rescuer, STALE_SECONDS, MAX_ATTEMPTS)
    assert isinstance(found, Rescued)
    return found


def beat_through(toy: Toy, *living: int, seconds: float = STALE_SECONDS + 1) -> float:
    """Let the living beat without a gap for so long; give how far the clock must be moved then."""
    passed = 0.0
    while passed < seconds:
        passed = min(passed + STALE_SECONDS / 3, seconds)
        with clock.shifted(passed):
            assert all(toy.do(dispatchers.beat, one) for one in living)
    return passed


def test_a_heartbeat_moves_the_time_of_the_last_one(toy: Toy) -> None:
    one = toy.dispatcher()
    with clock.shifted(10):
        before = toy.do(clock.read)
        assert toy.do(dispatchers.beat, one)
        after = toy.do(clock.read)
    with toy.session() as session:
        row = session.get_one(Dispatcher, one)
        assert before <= row.beat_at <= after
        assert (row.beat_at - row.started_at).total_seconds() >= 10
        assert row.steady_since == row.started_at


def test_a_dispatcher_that_ended_is_told_so_by_its_heartbeat(toy: Toy) -> None:
    one = toy.dispatcher()
    toy.do(dispatchers.deregister, one)
    assert not toy.do(dispatchers.beat, one)
    assert not toy.do(dispatchers.beat, one + 100)


def test_only_fresh_heartbeats_count_as_live(toy: Toy) -> None:
    _stale, two, three = toy.dispatcher(), toy.dispatcher(), toy.dispatcher()
    toy.do(dispatchers.deregister, three)
    with clock.shifted(STALE_SECONDS + 1):
        toy.do(dispatchers.beat, two)
        with toy.session() as session:
            found = dispatchers.live(session, toy.event_id, STALE_SECONDS)
    assert [row.id for row in found] == [two]


@pytest.mark.parametrize("state", [State.SENT_TO_TRAINING, State.TRAINING])
def test_what_a_dead_dispatcher_was_to_train_waits_again_and_is_counted(
    toy: Toy, state: State
) -> None:
    claim, rescuer = toy.bring_to(state), toy.dispatcher()
    with clock.shifted(beat_through(toy, rescuer)):
        found = rescue(toy, rescuer)
        assert found == Rescued((claim.submission_id,), (), (claim.dispatcher_id,))
        assert rescue(toy, rescuer) == Rescued()
    row = toy.row(claim.submission_id)
    assert (row.state, row.n_crashes, row.dispatcher_id) == (State.NEW, 1, None)
    assert row.not_before is not None
    (attempt,) = toy.attempts(claim.submission_id)
    assert attempt.outcome == "crashed"
    assert f"dispatcher {claim.dispatcher_id}" in (attempt.error or "")
    assert toy.history(claim.submission_id)[-1].dispatcher_id == rescuer


def test_a_dispatcher_that_comes_back_finds_its_claim_lost(toy: Toy) -> None:
    claim, rescuer = toy.bring_to(State.TRAINING), toy.dispatcher()
    with clock.shifted(beat_through(toy, rescuer)):
        rescue(toy, rescuer)
    assert not toy.do(dispatchers.beat, claim.dispatcher_id)
    assert toy.do(queue.owned, claim.dispatcher_id) == []
    assert toy.claim(claim.dispatcher_id) == []
    with pytest.raises(ClaimLostError):
        toy.do(queue.finish, claim)


def test_what_is_tested_changes_its_owner_and_is_not_trained_again(toy: Toy) -> None:
    claim, rescuer = toy.bring_to(State.TESTED), toy.dispatcher()
    with clock.shifted(beat_through(toy, rescuer)):
        found = rescue(toy, rescuer)
    taken = Claim(claim.submission_id, claim.attempt, rescuer)
    assert (found.requeued, found.to_score) == ((), (taken,))
    with pytest.raises(ClaimLostError):
        toy.do(queue.score, claim, toy_results(0.5))
    toy.do(queue.score, taken, toy_results(0.5))
    row = toy.row(claim.submission_id)
    assert (row.state, row.n_crashes) == (State.SCORED, 1)
    (attempt,) = toy.attempts(claim.submission_id)
    assert (attempt.dispatcher_id, attempt.outcome) == (rescuer, "succeeded")


def test_a_submission_that_kills_its_dispatchers_ends(toy: Toy) -> None:
    for state in sorted(OWNED):
        submission_id, moved = toy.submit(), 0.0
        for _ in range(MAX_ATTEMPTS):
            with clock.shifted(moved):
                (claim,) = toy.claim(limit=1)
                assert claim.submission_id == submission_id
                if state is not State.SENT_TO_TRAINING:
                    toy.do(queue.start, claim)
                if state is State.TESTED:
                    toy.do(queue.finish, claim)
                toy.do(dispatchers.deregister, claim.dispatcher_id)
                found = rescue(toy, toy.dispatcher())
                for taken in found.to_score:
                    toy.do(queue.crash, taken, "the score step died", MAX_ATTEMPTS)
            moved += 1000
            if toy.row(submission_id).state.is_final:
                break
        row = toy.row(submission_id)
        assert row.state is State.CHECKING_ERROR
        assert "dispatcher" in (row.error or "")


def test_what_was_to_be_canceled_is_canceled_by_the_rescuer(toy: Toy) -> None:
    for state in sorted(OWNED):
        claim = toy.bring_to(state)
        toy.do(queue.cancel, claim.submission_id, "no more")
        toy.do(dispatchers.deregister, claim.dispatcher_id)
        assert rescue(toy, toy.dispatcher()).requeued == (claim.submission_id,)
        assert toy.row(claim.submission_id).state is State.CANCELED


def test_from_a_dispatcher_that_ended_anyone_takes_at_once(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    assert rescue(toy, toy.dispatcher()).requeued == (claim.submission_id,)


def test_a_fresh_heartbeat_protects(toy: Toy) -> None:
    claim, rescuer = toy.bring_to(State.TRAINING), toy.dispatcher()
    with clock.shifted(beat_through(toy, rescuer, claim.dispatcher_id)):
        assert rescue(toy, rescuer) == Rescued()
    assert toy.row(claim.submission_id).state is State.TRAINING


def test_after_an_outage_nobody_robs_anybody(toy: Toy) -> None:
    claim, rescuer = toy.bring_to(State.TRAINING), toy.dispatcher()
    outage = 100 * STALE_SECONDS
    with clock.shifted(beat_through(toy, rescuer, claim.dispatcher_id)), clock.shifted(outage):
        assert rescue(toy, rescuer) == Rescued()
        assert toy.do(dispatchers.beat, rescuer)
        assert rescue(toy, rescuer) == Rescued()
        assert toy.do(dispatchers.beat, claim.dispatcher_id)
        with clock.shifted(beat_through(toy, rescuer, claim.dispatcher_id)):
            assert rescue(toy, rescuer) == Rescued()
    assert toy.row(claim.submission_id).state is State.TRAINING


def test_a_newcomer_waits_before_it_finds_others_stale(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    with clock.shifted(10 * STALE_SECONDS):
        newcomer = toy.dispatcher()
        assert rescue(toy, newcomer) == Rescued()
        with clock.shifted(beat_through(toy, newcomer)):
            assert rescue(toy, newcomer).requeued == (claim.submission_id,)


def test_nobody_waits_for_one_who_is_paused_within_a_transaction(postgresql_url: str) -> None:
    """As by SIGSTOP, between the statements of a heartbeat."""
    database = Database(postgresql_url)
    toy = Toy(database)
    paused, rescuer = toy.dispatcher(), toy.dispatcher()
    with toy.session() as open_one:
        dispatchers.beat(open_one, paused)
        later = beat_through(toy, rescuer)
        with clock.shifted(later), toy.session() as session:
            session.execute(text("SET LOCAL lock_timeout = '5s'"))
            found = queue.rescue(session, toy.event_id, rescuer, STALE_SECONDS, MAX_ATTEMPTS)
            assert found == Rescued()
    with clock.shifted(later):
        assert rescue(toy, rescuer).ended == (paused,)
    database.dispose()


def test_who_ended_rescues_nothing(toy: Toy) -> None:
    claim, rescuer = toy.bring_to(State.TRAINING), toy.dispatcher()
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    toy.do(dispatchers.deregister, rescuer)
    assert rescue(toy, rescuer) == Rescued()


def test_looking_for_the_dead_costs_two_statements(toy: Toy, statements: list[str]) -> None:
    rescuer = toy.dispatcher()
    statements.clear()
    rescue(toy, rescuer)
    assert len(statements) == 2
    statements.clear()
    toy.do(dispatchers.beat, rescuer)
    assert len(statements) == 1


def adopt_from_the_dead(toy: Toy, claim: Claim) -> Rescued:
    """Have a dispatcher whose workers can adopt take over what the claim's owner left."""
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    with toy.session() as session:
        newcomer = dispatchers.register(session, toy.event_id, "host", 2)
        return queue.rescue(
            session, toy.event_id, newcomer, STALE_SECONDS, MAX_ATTEMPTS, is_adopting=True
        )


def started_with_handle(toy: Toy) -> Claim:
    claim = toy.bring_to(State.SENT_TO_TRAINING)
    toy.do(queue.start, claim, "job 42", "bundle")
    return claim


def test_a_run_with_a_handle_is_adopted_and_its_attempt_goes_on(toy: Toy) -> None:
    claim = started_with_handle(toy)
    with clock.shifted(30):
        found = adopt_from_the_dead(toy, claim)
    (adopted,) = found.adopted
    assert (found.requeued, found.to_score) == ((), ())
    assert (adopted.handle, adopted.bundle_hash) == ("job 42", "bundle")
    assert 30 <= adopted.elapsed_seconds < 60
    assert adopted.claim.attempt == claim.attempt
    assert adopted.claim.dispatcher_id != claim.dispatcher_id
    with pytest.raises(ClaimLostError):
        toy.do(queue.finish, claim)
    toy.do(queue.finish, adopted.claim)
    toy.do(queue.score, adopted.claim, toy_results(0.5))
    row = toy.row(claim.submission_id)
    assert (row.state, row.n_crashes, row.n_interruptions) == (State.SCORED, 0, 1)
    (attempt,) = toy.attempts(claim.submission_id)
    assert (attempt.outcome, attempt.dispatcher_id) == ("succeeded", adopted.claim.dispatcher_id)


def test_who_holds_an_attempt_is_known(toy: Toy) -> None:
    claim = started_with_handle(toy)
    assert toy.do(queue.holder, claim) == claim.dispatcher_id
    (adopted,) = adopt_from_the_dead(toy, claim).adopted
    assert toy.do(queue.holder, claim) == adopted.claim.dispatcher_id
    toy.do(queue.crash, adopted.claim, "broken", 1)
    assert toy.do(queue.holder, claim) is None


def test_a_run_without_a_handle_is_not_adopted(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    assert adopt_from_the_dead(toy, claim).requeued == (claim.submission_id,)


def test_a_run_is_not_adopted_by_who_cannot(toy: Toy) -> None:
    claim = started_with_handle(toy)
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    assert rescue(toy, toy.dispatcher()).requeued == (claim.submission_id,)


def test_a_run_that_is_to_be_canceled_is_adopted_so_that_somebody_ends_it(toy: Toy) -> None:
    claim = started_with_handle(toy)
    toy.do(queue.cancel, claim.submission_id, "no more")
    (adopted,) = adopt_from_the_dead(toy, claim).adopted
    (owned,) = toy.do(queue.owned, adopted.claim.dispatcher_id)
    assert owned.is_cancel_requested


def test_a_run_whose_every_owner_dies_is_given_up_in_the_end(toy: Toy) -> None:
    claim = started_with_handle(toy)
    for _ in range(queue.MAX_INTERRUPTIONS):
        (adopted,) = adopt_from_the_dead(toy, claim).adopted
        claim = adopted.claim
    assert adopt_from_the_dead(toy, claim).requeued == (claim.submission_id,)
    assert toy.row(claim.submission_id).n_crashes == 1
