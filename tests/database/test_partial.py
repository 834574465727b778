"""Scores of folds that are done are there while their attempt is under way, and no longer."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ramp_database import attempts, dispatchers, history, queue
from ramp_database.errors import ClaimLostError, TransitionError
from ramp_database.leaderboard import leaderboard
from ramp_database.partial import PartialScores
from ramp_database.queue import Claim
from ramp_database.results import Results
from ramp_database.states import State
from ramp_database.status import event_status
from ramp_database.testing import toy_results
from tests.database.conftest import Toy

PRIVATE = 0.123


def done(*folds: int, valid: float | None = 0.75) -> PartialScores:
    results = toy_results(valid, PRIVATE)
    return PartialScores.of(Results(tuple(results.folds[number] for number in folds), {}), 2)


def training(toy: Toy) -> Claim:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.note_partial, claim, done(1))
    return claim


def test_they_are_told_and_replaced_and_nothing_private_is_among_them(toy: Toy) -> None:
    claim = training(toy)
    toy.do(queue.note_partial, claim, done(0, 1))
    with toy.session() as session:
        (row,) = event_status(session, toy.event_id)["submissions"]
        told = history.read(session, claim.submission_id).partial
        assert leaderboard(session, toy.event_id) == []
    assert row["partial"] == told
    assert told == {
        "n_folds": 2,
        "folds": [
            {"fold": 0, "scores": {"accuracy": 0.75}},
            {"fold": 1, "scores": {"accuracy": 0.75}},
        ],
        "score_type": "accuracy",
        "precision": 3,
        "mean": 0.75,
    }
    assert str(PRIVATE) not in str(toy.attempts(claim.submission_id)[0].partial)


def test_a_score_that_is_no_number_has_no_mean(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.note_partial, claim, done(0, valid=None))
    with toy.session() as session:
        partial = history.read(session, claim.submission_id).partial
    assert partial is not None
    assert partial["mean"] is None


def score(toy: Toy, claim: Claim) -> None:
    toy.do(queue.finish, claim)
    toy.do(queue.score, claim, toy_results(0.5))


def rescue(toy: Toy, claim: Claim) -> None:
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    assert toy.do(queue.rescue, toy.event_id, toy.dispatcher(), 60.0, 9).requeued


def cancel(toy: Toy, claim: Claim) -> None:
    toy.do(queue.cancel, claim.submission_id, "no more")
    toy.do(queue.acknowledge_cancel, claim)


ENDINGS: dict[str, Callable[[Toy, Claim], object]] = {
    "scored": score,
    "failed": lambda toy, claim: toy.do(queue.fail, claim, State.TRAINING_ERROR, "wrong", "failed"),
    "crashed": lambda toy, claim: toy.do(queue.crash, claim, "broken", 9),
    "released": lambda toy, claim: toy.do(queue.release, claim, "shut down"),
    "canceled": cancel,
    "rescued": rescue,
    "taken back": lambda toy, claim: toy.do(
        queue.set_state, claim.submission_id, State.NEW, "by hand"
    ),
}


@pytest.mark.parametrize("ending", list(ENDINGS))
def test_they_end_with_the_attempt_however_it_ends(toy: Toy, ending: str) -> None:
    claim = training(toy)
    ENDINGS[ending](toy, claim)
    assert toy.attempts(claim.submission_id)[0].partial is None
    with pytest.raises(ClaimLostError):
        toy.do(queue.note_partial, claim, done(0))
    assert toy.attempts(claim.submission_id)[0].partial is None


@pytest.mark.parametrize("state", [State.SENT_TO_TRAINING, State.TESTED])
def test_only_folds_that_run_have_any(toy: Toy, state: State) -> None:
    with pytest.raises(TransitionError):
        toy.do(queue.note_partial, toy.bring_to(state), done(0))


def test_an_attempt_starts_from_nothing_after_it_was_reopened_by_hand(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    number = claim.submission_id
    assert toy.do(attempts.newest_reopened, number) == 0
    toy.do(queue.crash, claim, "broken", 9)
    assert toy.do(attempts.newest_reopened, number) == 0
    toy.do(queue.set_state, number, State.CANCELED, "enough")
    toy.do(queue.reopen, number, "once more")
    assert toy.do(attempts.newest_reopened, number) == 1
