"""Each violation of what must hold is found, and sound events have none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text, update

from ramp_database import dispatchers, queue
from ramp_database.model import Submission
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine.config import EventConfig
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.testing import canned_scores, deploy_fake_event, violations, violations_on_disk
from tests.database.conftest import Toy


def found(toy: Toy, *, is_over: bool = True) -> list[str]:
    with toy.session() as session:
        return violations(session, toy.event_id, is_over=is_over)


@pytest.mark.parametrize("state", list(State))
def test_every_state_holds_what_must_hold_on_the_way(toy: Toy, state: State) -> None:
    claim = toy.bring_to(state)
    assert found(toy, is_over=False) == []
    expected = [] if state.is_final else [f"it is {state}, which is not final"]
    assert found(toy) == [f"submission {claim.submission_id}: {one}" for one in expected]


def test_a_long_history_holds_it_too(toy: Toy) -> None:
    """A crash, a rescue, a new owner of what is tested, an end, and all of it anew."""
    scored = toy.bring_to(State.SCORED)
    toy.do(queue.crash, toy.bring_to(State.TRAINING), "broken", 9)
    toy.do(queue.reopen, scored.submission_id, "once more")
    with toy.session() as session:
        session.execute(update(Submission).values(not_before=None))
    owner, rescuer = toy.dispatcher(), toy.dispatcher()
    first, second = toy.claim(owner, limit=2)
    for one in (first, second):
        toy.do(queue.start, one)
    toy.do(queue.finish, first)
    toy.do(queue.cancel, second.submission_id, "no more")
    toy.do(dispatchers.deregister, owner)
    rescued = toy.do(queue.rescue, toy.event_id, rescuer, 60.0, 9)
    assert [one.submission_id for one in rescued.to_score] == [first.submission_id]
    toy.do(queue.release, rescued.to_score[0], "shut down", 0)
    assert found(toy) == []


_AGAIN = """
INSERT INTO submission_events (submission_id, at, from_state, to_state, attempt)
SELECT submission_id, at, '{}', '{}', attempt FROM submission_events WHERE to_state = 'scored'
"""
_SECOND_ATTEMPT = """
INSERT INTO attempts (submission_id, number, dispatcher_id, claimed_at)
SELECT submission_id, 2, dispatcher_id, claimed_at FROM attempts
"""
#: A state, what is done to the only submission that there is, and what is said about it then.
PLANTS = {
    "lost": ("new", "", "it is new, which is not final"),
    "stuck": ("training", "UPDATE dispatchers SET ended_at = beat_at", "has ended"),
    "recorded twice": (
        "scored",
        _AGAIN.format("tested", "scored"),
        "goes to scored and on from tested",
    ),
    "overwritten": (
        "scored",
        "UPDATE submissions SET state = 'canceled'",
        "it is canceled, and its history ends with scored",
    ),
    "a step that there is not": (
        "scored",
        _AGAIN.format("scored", "canceled"),
        "a step from scored to canceled",
    ),
    "recorded by an older attempt": (
        "scored",
        "UPDATE submission_events SET attempt = 0 WHERE to_state = 'tested'",
        "attempt 0 is recorded while the newest is 1",
    ),
    "no arrival": ("new", "DELETE FROM submission_events", "its history ends with nothing"),
    "an attempt too many": ("scored", _SECOND_ATTEMPT, "its attempts are [1, 2], not [1]"),
    "an attempt that is missing": (
        "scored",
        "DELETE FROM attempts",
        "its attempts are [], not [1]",
    ),
    "an attempt without a claim": (
        "scored",
        "UPDATE submissions SET attempt = 2",
        "has claims of the attempts [1], not [1, 2]",
    ),
    "partial scores of an attempt that is over": (
        "scored",
        """UPDATE attempts SET partial = '{"n_folds": 2, "folds": []}'""",
        "attempt 1 has partial scores while it is scored",
    ),
    "partial scores of a fold that there is not": (
        "training",
        """UPDATE attempts SET partial = '{"n_folds": 2, "folds": [{"fold": 2, "scores": {}}]}'""",
        "attempt 1 has partial scores of the folds [2]",
    ),
    "an attempt without an end": (
        "training_error",
        "UPDATE attempts SET finished_at = NULL",
        "attempt 1 never ended",
    ),
    "an attempt that ended too soon": (
        "training",
        "UPDATE attempts SET finished_at = claimed_at, outcome = 'crashed'",
        "attempt 1 has ended while it is training",
    ),
    "an owner too long": (
        "scored",
        "UPDATE submissions SET dispatcher_id = (SELECT id FROM dispatchers)",
        "it is scored and dispatcher",
    ),
    "no owner": (
        "training",
        "UPDATE submissions SET dispatcher_id = NULL",
        "nobody owns it",
    ),
    "a wish that was forgotten": (
        "scored",
        "UPDATE submissions SET cancel_requested_at = submitted_at",
        "the wish to cancel it still waits",
    ),
    "a score that is missing": (
        "scored",
        "DELETE FROM fold_scores WHERE fold = 0",
        "has 1 rows in fold_scores",
    ),
    "scores of who has none": (
        "training_error",
        "INSERT INTO fold_times (submission_id, fold) SELECT id, 0 FROM submissions",
        "has 1 rows in fold_times",
    ),
    "an attempt with another outcome": (
        "scored",
        "UPDATE attempts SET outcome = 'failed'",
        "its last attempt has failed, and it has succeeded",
    ),
    "an attempt that succeeded in vain": (
        "checking_error",
        "UPDATE attempts SET outcome = 'succeeded'",
        "its last attempt has succeeded, and it has crashed",
    ),
    "a cancel of what succeeded": (
        "canceled",
        "UPDATE attempts SET outcome = 'succeeded'",
        "its last attempt has succeeded, and it has canceled",
    ),
    "a score twice": (
        "scored",
        "INSERT INTO fold_times (submission_id, fold) SELECT id, 2 FROM submissions",
        "has 3 rows in fold_times",
    ),
    "no bagged score": (
        "scored",
        "DELETE FROM bagged_scores",
        "has 0 rows in bagged_scores",
    ),
    "no official score": (
        "scored",
        "UPDATE submissions SET public_score = NULL",
        "its score is None, that of its bagged predictions 0.",
    ),
    "the score of somebody else": (
        "scored",
        "UPDATE submissions SET public_score = 0.125",
        "its score is 0.125, that of its bagged predictions 0.",
    ),
    "a score of who has none": (
        "training_error",
        "UPDATE submissions SET public_score = 0.5",
        "its score is 0.5, that of its bagged predictions None",
    ),
    "no place": (
        "scored",
        "UPDATE submissions SET public_order = NULL",
        "has no place on the leaderboard",
    ),
}


@pytest.mark.parametrize("name", list(PLANTS))
def test_a_planted_violation_is_found(toy: Toy, name: str) -> None:
    state, statement, words = PLANTS[name]
    toy.bring_to(State(state))
    assert found(toy, is_over=False) == []
    if statement:
        with toy.session() as session:
            session.execute(text(statement))
    assert any(words in one for one in found(toy)), found(toy)


def test_two_results_of_one_ending_are_found(toy: Toy) -> None:
    """As if an attempt had failed, and the submission had been evaluated again all the same."""
    toy.do(queue.crash, toy.bring_to(State.TRAINING), "broken", 9)
    with toy.session() as session:
        session.execute(update(Submission).values(not_before=None))
    (claim,) = toy.claim()
    toy.do(queue.fail, claim, State.TRAINING_ERROR, "its code failed", "failed")
    assert found(toy) == []
    with toy.session() as session:
        session.execute(text("UPDATE attempts SET outcome = 'failed' WHERE number = 1"))
    (problem,) = found(toy)
    assert problem.endswith("2 attempts have a result, and it came to an end 1 times")


@pytest.mark.parametrize("state", [State.CANCELED, State.CHECKING_ERROR])
def test_an_end_by_hand_after_a_crash_is_sound(toy: Toy, state: State) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.crash, claim, "broken", 9)
    toy.do(queue.set_state, claim.submission_id, state, "enough")
    assert found(toy) == []


@pytest.mark.parametrize("ending", [queue.release, queue.crash])
def test_a_wish_to_cancel_that_an_end_of_another_kind_grants_is_sound(
    toy: Toy, ending: Callable[..., State]
) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.do(queue.cancel, claim.submission_id, "no more")
    assert toy.do(ending, claim, "broken", 9) is State.CANCELED
    assert found(toy) == []


def test_violations_of_other_events_are_not_told(toy: Toy) -> None:
    toy.bring_to(State.NEW)
    with toy.session() as session:
        assert violations(session, toy.event_id + 1) == []


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    """An event with a scored submission."""
    event = deploy_fake_event(database, tmp_path, n_threads=1)
    with database.session() as session:
        add_toy_submission(session, TOY)
    Dispatcher(database, event, is_exiting_when_done=True, score=canned_scores).run()
    return event


def on_disk(database: Database, event: EventConfig) -> list[str]:
    with database.session() as session:
        return violations_on_disk(session, 1, event)


def test_the_files_of_a_sound_event_are_as_they_must_be(
    database: Database, event: EventConfig
) -> None:
    assert on_disk(database, event) == []
    (event.ramp.logs_dir / "dispatcher.log").touch()
    assert on_disk(database, event) == []


@pytest.mark.parametrize(
    "path",
    [
        "work/attempts/submission_000000001-1-1",
        "work/kept/submission_000000001",
        "submissions/.submission_000000001-1-1",
        "predictions/.submission_000000001-1-1.scored.old",
        "predictions/submission_000000002",
        "logs/.submission_000000001-1-1",
    ],
)
def test_what_was_left_behind_is_found(database: Database, event: EventConfig, path: str) -> None:
    (event.directory / path).mkdir(parents=True)
    assert on_disk(database, event) == [f"left behind: {event.directory / path}"]


def test_predictions_that_still_wait_to_be_scored_are_found(
    database: Database, event: EventConfig
) -> None:
    predictions = event.ramp.predictions_dir / "submission_000000001"
    (predictions / "bundle.txt").write_text("bundle")
    assert on_disk(database, event) == [f"not scored: {predictions}"]


@pytest.mark.parametrize(
    ("path", "missing"),
    [
        ("submissions/submission_000000001", ""),
        ("logs/submission_000000001", "/log"),
        ("predictions/submission_000000001/fold_1", "/y_pred_train"),
    ],
)
def test_files_of_a_scored_submission_that_are_missing_are_found(
    database: Database, event: EventConfig, path: str, missing: str
) -> None:
    shutil.rmtree(event.directory / path)
    assert f"missing: {event.directory / path}{missing}" in on_disk(database, event)
