"""Who is to blame for an attempt, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_database.states import State
from ramp_engine.evaluation.failure import DOING
from ramp_engine.failure_card import Subject, with_card
from ramp_engine.outcome import (
    MAX_ERROR_LENGTH,
    Facts,
    FoldFacts,
    LimitFacts,
    Outcome,
    Stop,
    Verdict,
    judge,
)


def done(fold: int) -> FoldFacts:
    return FoldFacts(fold, "tested", None, has_predictions=True)


def good(**changes: object) -> Facts:
    facts = {
        "n_folds": 2,
        "worker_status": "finished",
        "returncode": 0,
        "folds": (done(0), done(1)),
    }
    return Facts(**(facts | changes))  # type: ignore[arg-type]


def test_predictions_of_every_fold_are_a_success() -> None:
    assert judge(good()) == Verdict(Outcome.SUCCEEDED, State.TESTED)


@pytest.mark.parametrize("state", ["training_error", "validating_error", "testing_error"])
def test_a_failed_fold_is_the_participants_in_its_phase(state: str) -> None:
    broken = FoldFacts(1, state, "ValueError: no", has_predictions=False)
    verdict = judge(good(returncode=1, folds=(done(0), broken)))
    assert verdict == Verdict(Outcome.FAILED, State(state), "ValueError: no", fold=1)


@pytest.mark.parametrize(
    ("phase", "state"),
    [(None, "training_error"), ("trained", "validating_error"), ("validated", "testing_error")],
)
def test_a_time_out_is_placed_in_the_phase_that_was_under_way(
    phase: str | None, state: str
) -> None:
    folds = (done(0), FoldFacts(1, phase, None, has_predictions=False))
    verdict = judge(good(worker_status="timeout", timeout_seconds=30.0, folds=folds))
    assert (verdict.outcome, verdict.state) == (Outcome.TIMED_OUT, State(state))
    doing = DOING[state]
    told = f"out of time: 30 s of 30 s for the whole submission, in fold 1, {doing}"
    assert verdict.error == told
    subject = Subject("mine")
    assert str(with_card(verdict, subject).error).splitlines()[0] == told, "nothing is said twice"


def test_a_time_out_is_in_the_phase_that_the_fold_step_has_told() -> None:
    cut = FoldFacts(1, "validating_error", "the run was ended", has_predictions=False)
    verdict = judge(good(worker_status="timeout", timeout_seconds=30.0, folds=(done(0), cut)))
    assert verdict.state is State.VALIDATING_ERROR
    assert str(verdict.error).endswith("in fold 1, predicting the training data")


def test_a_time_out_between_folds_names_the_next() -> None:
    verdict = judge(good(worker_status="timeout", timeout_seconds=30.0, folds=(done(0),)))
    assert verdict.state is State.TRAINING_ERROR
    assert "fold 1" in str(verdict.error)


def test_a_run_that_ends_well_without_predictions_is_the_participants() -> None:
    silent = FoldFacts(1, "trained", None, has_predictions=False)
    verdict = judge(good(folds=(done(0), silent)))
    assert (verdict.outcome, verdict.state) == (Outcome.FAILED, State.VALIDATING_ERROR)
    assert "fold 1" in str(verdict.error)


def test_folds_that_an_adopted_run_lacks_are_run_again_and_nobodys_fault() -> None:
    verdict = judge(good(folds=(done(1),), is_adopted=True))
    assert verdict.outcome is Outcome.INTERRUPTED
    assert "another dispatcher" in (verdict.error or "")


def test_predictions_after_a_failing_exit_code_are_not_taken() -> None:
    verdict = judge(good(returncode=1))
    assert verdict.outcome is Outcome.FAILED


def test_a_killed_run_names_the_signal() -> None:
    verdict = judge(good(returncode=-9, folds=()))
    assert (verdict.outcome, verdict.state) == (Outcome.FAILED, State.TRAINING_ERROR)
    assert "SIGKILL" in str(verdict.error)
    assert "SIGSEGV" in str(judge(good(returncode=139, folds=())).error)


@pytest.mark.parametrize("code", [3, 70])
def test_exit_codes_of_ours_are_crashes(code: int) -> None:
    verdict = judge(good(returncode=code, error_msg="disk full"))
    assert verdict == Verdict(Outcome.CRASHED, None, "disk full")


def test_an_error_of_the_worker_is_a_crash_even_beside_good_predictions() -> None:
    assert judge(good(crash="no route to host")).outcome is Outcome.CRASHED
    assert judge(good(worker_status="error")).outcome is Outcome.CRASHED


def test_no_room_and_a_reclaimed_machine_are_interruptions() -> None:
    assert judge(good(crash="no capacity", is_unavailable=True)).outcome is Outcome.INTERRUPTED
    assert judge(good(worker_status="retry")).outcome is Outcome.INTERRUPTED


def test_a_full_disk_is_an_interruption_that_says_where_to_make_room() -> None:
    verdict = judge(good(crash="no file", full_dir=Path("/event/work")))
    error = "interrupted: the disk of /event/work is full, make room there (no file)"
    assert verdict == Verdict(Outcome.INTERRUPTED, None, error, is_disk_full=True)


@pytest.mark.parametrize(
    ("stop", "outcome"),
    [(Stop.CANCELED, Outcome.CANCELED), (Stop.SHUTDOWN, Outcome.INTERRUPTED)],
)
def test_who_ended_a_run_counts_more_than_a_full_disk(stop: Stop, outcome: Outcome) -> None:
    verdict = judge(good(crash="no file", full_dir=Path("/event/work"), stop=stop))
    assert (verdict.outcome, verdict.is_disk_full) == (outcome, False)


def test_a_shutdown_gives_back_and_a_cancel_is_final() -> None:
    broken = FoldFacts(0, "training_error", "ValueError", has_predictions=False)
    assert judge(good(stop=Stop.SHUTDOWN, folds=(broken,))).outcome is Outcome.INTERRUPTED
    assert judge(good(stop=Stop.CANCELED)).state is State.CANCELED


def test_an_error_can_be_stored_whatever_it_holds() -> None:
    broken = FoldFacts(0, "training_error", "a\0b", has_predictions=False)
    assert judge(good(folds=(broken,))).error == "a\\x00b"


def test_a_huge_error_keeps_its_head_and_its_tail() -> None:
    text = "head" + "x" * 10 * MAX_ERROR_LENGTH + "tail"
    broken = FoldFacts(0, "training_error", text, has_predictions=False)
    error = str(judge(good(folds=(broken,))).error)
    assert len(error) < MAX_ERROR_LENGTH + 20
    assert error.startswith("head")
    assert error.endswith("tail")


def beyond(name: str, state: str | None, error: str | None = None) -> Verdict:
    limit = LimitFacts(name, 3174.0, 3072.0, "MB")
    fold = FoldFacts(0, state, error, has_predictions=False, limit=limit)
    return judge(Facts(1, worker_status="finished", returncode=1, error_msg="?", folds=(fold,)))


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("memory", Outcome.OUT_OF_MEMORY),
        ("fold_seconds", Outcome.TIMED_OUT),
        ("output_mb", Outcome.LIMIT_EXCEEDED),
        ("processes", Outcome.LIMIT_EXCEEDED),
        ("threads", Outcome.LIMIT_EXCEEDED),
    ],
)
def test_a_limit_has_a_verdict_of_its_own(name: str, outcome: Outcome) -> None:
    verdict = beyond(name, "training_error", "out of memory: 3.1 GB of 3 GB in fold 0, training")
    assert (verdict.outcome, verdict.state) == (outcome, State.TRAINING_ERROR)
    assert verdict.error == "out of memory: 3.1 GB of 3 GB in fold 0, training"


def test_the_phase_of_a_limit_is_that_of_its_fold() -> None:
    assert beyond("memory", "trained").state is State.VALIDATING_ERROR
    assert beyond("memory", "testing_error").state is State.TESTING_ERROR


def test_a_limit_without_words_is_told_by_its_figures() -> None:
    assert beyond("output_mb", None).error == "limit exceeded: output_mb, 3174 of 3072 MB in fold 0"
