"""Each violation of an invariant is found, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from ramp_database.history import AttemptFacts, StepFacts
from ramp_database.states import State
from ramp_engine.config import EventConfig, load_event
from ramp_engine.rehearsal.invariants import Expectation, check, left_behind
from ramp_engine.rehearsal.records import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPECTED = Expectation(
    states={"one": frozenset({State.SCORED})},
    max_attempts=3,
    max_interruptions=20,
    n_folds=2,
    n_score_types=1,
)


def step(source: State | None, target: State, attempt: int = 1) -> StepFacts:
    return StepFacts(NOW, source, target, attempt, 1, None)


def run(number: int, outcome: str | None) -> AttemptFacts:
    return AttemptFacts(number, 1, NOW, NOW, NOW if outcome else None, outcome, None)


ARRIVAL = step(None, State.NEW, 0)
CLAIM = step(State.NEW, State.SENT_TO_TRAINING)
START = step(State.SENT_TO_TRAINING, State.TRAINING)
FINISH = step(State.TRAINING, State.TESTED)
SCORE = step(State.TESTED, State.SCORED)
CRASH = step(State.SENT_TO_TRAINING, State.NEW)
TAKE_OVER = step(State.TESTED, State.TESTED)
GOOD = Record(
    submission_id=5,
    name="one",
    state=State.SCORED,
    attempt=1,
    n_crashes=0,
    dispatcher_id=None,
    outcome="succeeded",
    has_score=True,
    n_fold_scores=2,
    n_fold_times=2,
    n_bagged_scores=1,
    steps=(ARRIVAL, CLAIM, START, FINISH, SCORE),
    attempts=(run(1, "succeeded"),),
)
UNSCORED = {"has_score": False, "n_fold_scores": 0, "n_fold_times": 0, "n_bagged_scores": 0}
SPENT = replace(
    GOOD,
    state=State.CHECKING_ERROR,
    attempt=3,
    n_crashes=3,
    outcome="crashed",
    steps=(
        *(ARRIVAL, CLAIM, CRASH, CLAIM, CRASH, CLAIM),
        step(State.SENT_TO_TRAINING, State.CHECKING_ERROR),
    ),
    attempts=tuple(run(number, "crashed") for number in (1, 2, 3)),
    **UNSCORED,
)


@pytest.mark.parametrize(
    "record",
    [
        pytest.param(GOOD, id="at once"),
        pytest.param(
            replace(
                GOOD,
                attempt=2,
                n_crashes=1,
                steps=(ARRIVAL, CLAIM, CRASH, *GOOD.steps[1:]),
                attempts=(run(1, "crashed"), run(2, "succeeded")),
            ),
            id="after a crash",
        ),
        pytest.param(
            replace(GOOD, n_crashes=1, steps=(*GOOD.steps[:4], TAKE_OVER, SCORE)), id="taken over"
        ),
        pytest.param(
            replace(
                GOOD,
                attempt=2,
                steps=(*GOOD.steps, step(State.SCORED, State.NEW), *GOOD.steps[1:]),
                attempts=(run(1, "succeeded"), run(2, "succeeded")),
            ),
            id="reopened",
        ),
        pytest.param(SPENT, id="attempts spent"),
    ],
)
def test_what_may_happen_violates_nothing(record: Record) -> None:
    assert check([record], EXPECTED) == []


PLANTED: dict[str, tuple[str, Callable[[], list[Record]]]] = {
    "lost": ("none is lost", list),
    "made by nobody": ("none is lost", lambda: [GOOD, replace(GOOD, submission_id=6, name="x")]),
    "there twice": ("recorded exactly once", lambda: [GOOD, replace(GOOD, submission_id=6)]),
    "stuck": (
        "none is stuck",
        lambda: [
            replace(
                GOOD,
                state=State.TRAINING,
                steps=GOOD.steps[:3],
                outcome=None,
                attempts=(run(1, None),),
                **UNSCORED,
            )
        ],
    ),
    "owned": ("none is stuck", lambda: [replace(GOOD, dispatcher_id=3)]),
    "recorded twice": (
        "recorded exactly once",
        lambda: [replace(GOOD, steps=(*GOOD.steps, SCORE))],
    ),
    "two results": (
        "recorded exactly once",
        lambda: [
            replace(
                GOOD,
                attempt=2,
                steps=(ARRIVAL, CLAIM, CRASH, *GOOD.steps[1:]),
                attempts=(run(1, "failed"), run(2, "succeeded")),
            )
        ],
    ),
    "a step is missing": (
        "history is whole",
        lambda: [replace(GOOD, steps=(*GOOD.steps[:2], *GOOD.steps[3:]))],
    ),
    "no such step": (
        "history is whole",
        lambda: [
            replace(GOOD, steps=(*GOOD.steps[:2], step(State.SENT_TO_TRAINING, State.SCORED)))
        ],
    ),
    "no history": ("history is whole", lambda: [replace(GOOD, steps=())]),
    "a state without a step": (
        "history is whole",
        lambda: [replace(GOOD, steps=GOOD.steps[:-1])],
    ),
    "an attempt is missing": (
        "attempts match the history",
        lambda: [replace(GOOD, attempt=2)],
    ),
    "an attempt that nobody claimed": (
        "attempts match the history",
        lambda: [replace(GOOD, attempt=2, attempts=(run(1, "crashed"), run(2, "succeeded")))],
    ),
    "an attempt without an end": (
        "attempts match the history",
        lambda: [replace(GOOD, attempts=(run(1, None),))],
    ),
    "another outcome": (
        "attempts match the history",
        lambda: [replace(GOOD, attempts=(run(1, "failed"),))],
    ),
    "scores twice": ("scores are there once", lambda: [replace(GOOD, n_fold_scores=4)]),
    "no bagged score": ("scores are there once", lambda: [replace(GOOD, n_bagged_scores=0)]),
    "scores of a failure": (
        "scores are there once",
        lambda: [replace(SPENT, n_fold_times=2)],
    ),
    "given up too early": ("the state is right", lambda: [replace(SPENT, n_crashes=2)]),
    "wrong verdict": (
        "the state is right",
        lambda: [
            replace(
                GOOD,
                state=State.TRAINING_ERROR,
                outcome="failed",
                steps=(*GOOD.steps[:3], step(State.TRAINING, State.TRAINING_ERROR)),
                attempts=(run(1, "failed"),),
                **UNSCORED,
            )
        ],
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_violation_is_found_and_told_with_its_number(name: str) -> None:
    invariant, plant = PLANTED[name]
    found = check(plant(), EXPECTED)
    assert invariant in {violation.invariant for violation in found}
    numbers = {violation.submission_id for violation in found}
    assert numbers <= {5, 6} if name != "lost" else numbers == {None}
    assert all(str(one).startswith(f"{one.invariant}: ") for one in found)


@pytest.fixture
def event(tmp_path: Path) -> EventConfig:
    sections = {"ramp": {"problem_name": "toy", "event_name": "toy"}}
    path = tmp_path / "toy" / "config.yml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(sections | {"worker": {"worker_type": "local"}}))
    event = load_event(path)
    (event.ramp.predictions_dir / "submission_000000005").mkdir(parents=True)
    return event


def test_nothing_is_left_where_all_is_cleared(event: EventConfig) -> None:
    assert left_behind(event, [GOOD], str(event.directory)) == []


def test_what_an_attempt_left_is_found_with_its_number(event: EventConfig) -> None:
    for path in (
        event.ramp.work_dir / "attempts" / "submission_000000005-2-7",
        event.ramp.predictions_dir / ".submission_000000005-1-3.scored",
    ):
        path.mkdir(parents=True)
    found = left_behind(event, [GOOD], str(event.directory))
    assert [one.invariant for one in found] == ["no attempt is left on disk"] * 2
    assert {one.submission_id for one in found} == {5}


def test_missing_predictions_are_found(event: EventConfig) -> None:
    other = replace(GOOD, submission_id=6)
    (found,) = left_behind(event, [GOOD, other], str(event.directory))
    assert (found.invariant, found.submission_id) == ("outputs are there", 6)


def test_a_process_that_is_left_is_found(event: EventConfig) -> None:
    token = str(event.directory)
    code = "print(flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (found,) = left_behind(event, [GOOD], token)
        assert found.found == f"process {process.pid}"
        process.communicate()
