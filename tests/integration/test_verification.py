"""What verifying a submission finds, with a score step that answers as it is told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from ramp_database import queue
from ramp_database.predictions import Selection, select_finished
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.submissions import directory_name
from ramp_database.testing import add_toy_submission, toy_results
from ramp_engine import retention
from ramp_engine.config import EventConfig
from ramp_engine.errors import EvaluationError
from ramp_engine.evaluation.kept import note_test_only
from ramp_engine.preparation import scratch_dir
from ramp_engine.scoring import PredictionFault
from ramp_engine.testing import canned_scores, deploy_fake_event
from ramp_engine.verification import Finding, Verification, Verifier
from tests.integration.dispatching import dispatching_event, submit

#: Two folds of three scores, and two bagged ones.
N_SCORES = 8


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    """An event of which submission 1 is scored."""
    event = deploy_fake_event(database, tmp_path)
    with dispatching_event(database, event) as witness:
        assert submit(database) == 1
        assert witness.sees(lambda w: len(w.ended) == 1)
    return event


def verify(
    database: Database, event: EventConfig, answer: Callable[[], Results | PredictionFault]
) -> Verification:
    def score(*arguments: Any, **options: Any) -> Results | PredictionFault:
        canned_scores(*arguments, **options)
        return answer()

    found = Verifier(database, event, score).verify(1)
    assert list(scratch_dir(event).glob("*")) == [], "nothing is left behind"
    return found


def same() -> Results:
    return toy_results(0.5)


def execute(database: Database, statement: str) -> None:
    with database.session() as session:
        session.execute(text(statement))


def test_equal_scores_are_counted(database: Database, event: EventConfig) -> None:
    found = verify(database, event, same)
    assert found == Verification(1, Finding.VERIFIED, n_scores=N_SCORES)


def test_every_row_that_differs_is_named(database: Database, event: EventConfig) -> None:
    found = verify(database, event, lambda: toy_results(0.5, 0.25))
    assert found.finding is Finding.DIFFERENT
    changed = {one.what: (one.recorded, one.now) for one in found.differences}
    names = ["fold 0 accuracy test", "fold 1 accuracy test", "accuracy test_bag"]
    names += ["accuracy test_mean", "private_score"]
    assert {name: changed.pop(name) for name in names} == dict.fromkeys(names, (0.5, 0.25))
    assert changed == {"private_order": (-0.5, -0.25)}


@pytest.mark.parametrize("table", ["fold_scores", "bagged_scores"])
def test_rows_that_are_gone_differ(database: Database, event: EventConfig, table: str) -> None:
    execute(database, f"DELETE FROM {table}")  # noqa: S608
    found = verify(database, event, same)
    assert found.finding is Finding.DIFFERENT
    assert {one.recorded for one in found.differences} == {"missing"}


def test_a_place_on_the_leaderboard_that_was_changed_differs(
    database: Database, event: EventConfig
) -> None:
    execute(database, "UPDATE submissions SET public_order = -0.75")
    (one,) = verify(database, event, same).differences
    assert (one.what, one.recorded, one.now) == ("public_order", -0.75, -0.5)


def test_files_that_are_not_those_that_were_trained_differ(
    database: Database, event: EventConfig
) -> None:
    execute(database, "UPDATE submission_files SET path = 'other.py'")
    (one,) = verify(database, event, same).differences
    assert one.what == "hash of its files"


def test_predictions_that_cannot_be_scored_any_more_differ(
    database: Database, event: EventConfig
) -> None:
    fault = PredictionFault(State.VALIDATING_ERROR, "fold 0: NaN")
    found = verify(database, event, lambda: fault)
    assert found.finding is Finding.DIFFERENT
    assert "fold 0: NaN" in found.reason


def test_an_attempt_of_an_earlier_release_is_verified_by_what_is_deployed(
    database: Database, event: EventConfig
) -> None:
    execute(database, "UPDATE attempts SET provenance = NULL")
    found = verify(database, event, same)
    assert found.finding is Finding.VERIFIED
    assert found.reason == "the attempt recorded no hashes"


def lose_bundle(_database: Database, event: EventConfig) -> None:
    shutil.rmtree(event.ramp.work_dir / "bundles")


def lose_predictions(_database: Database, event: EventConfig) -> None:
    shutil.rmtree(event.ramp.predictions_dir / directory_name(1))


def delete_predictions(database: Database, event: EventConfig) -> None:
    with database.session(read_only=True) as session:
        finished = select_finished(session, 1, Selection())
    (stored,) = retention.find_stored(finished, event.ramp.predictions_dir)
    assert retention.delete(database, stored)


def keep_test_only(_database: Database, event: EventConfig) -> None:
    note_test_only(event.ramp.predictions_dir / directory_name(1))


def deploy_other_data(database: Database, _event: EventConfig) -> None:
    execute(database, "UPDATE events SET bundle_hash = 'other', data_hash = 'other'")


def reopen(database: Database, _event: EventConfig) -> None:
    with database.session() as session:
        queue.reopen(session, 1, "again")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lose_bundle, "bundle is not on this machine"),
        (lose_predictions, "gone, and not by `ramp database delete-predictions`"),
        (delete_predictions, "its predictions were deleted on 20"),
        (keep_test_only, "only those of the test data were kept"),
        (deploy_other_data, "scored with other data than deployed now"),
        (reopen, "it is new"),
    ],
)
def test_what_cannot_be_verified_tells_why(
    database: Database,
    event: EventConfig,
    change: Callable[[Database, EventConfig], None],
    reason: str,
) -> None:
    change(database, event)
    found = verify(database, event, same)
    assert found.finding is Finding.UNVERIFIABLE
    assert reason in found.reason


def test_a_score_step_that_fails_differs_in_nothing(database: Database, event: EventConfig) -> None:
    def fail() -> Results:
        raise EvaluationError("score", "no such environment")

    found = verify(database, event, fail)
    assert found.finding is Finding.UNVERIFIABLE
    assert "no such environment" in found.reason


def test_scores_of_other_score_types_cannot_be_verified(
    database: Database, event: EventConfig
) -> None:
    found = verify(database, event, lambda: toy_results(0.5, names=("another",)))
    assert found.finding is Finding.UNVERIFIABLE


def test_what_is_evaluated_anew_meanwhile_raises_no_false_alarm(
    database: Database, event: EventConfig
) -> None:
    def meanwhile() -> Results:
        reopen(database, event)
        return toy_results(0.25)

    found = verify(database, event, meanwhile)
    assert found.finding is Finding.UNVERIFIABLE
    assert "meanwhile" in found.reason


def test_predictions_that_are_deleted_meanwhile_raise_no_false_alarm(
    database: Database, event: EventConfig
) -> None:
    def meanwhile() -> PredictionFault:
        delete_predictions(database, event)
        return PredictionFault(State.VALIDATING_ERROR, "there are no predictions")

    found = verify(database, event, meanwhile)
    assert found.finding is Finding.UNVERIFIABLE
    assert "deleted meanwhile" in found.reason


def test_numbers_of_other_submissions_are_not_mixed_in(
    database: Database, event: EventConfig
) -> None:
    with database.session() as session:
        other = add_toy_submission(session).id
    with dispatching_event(database, event) as witness:
        assert witness.sees(lambda w: other in w.ended)
    execute(database, f"UPDATE fold_scores SET test = 0.75 WHERE submission_id = {other}")  # noqa: S608
    assert verify(database, event, same).finding is Finding.VERIFIED
