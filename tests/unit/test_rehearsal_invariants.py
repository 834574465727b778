"""What only a rehearsal knows is checked: who was to be there, how each ends, what still runs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ramp_database.history import AttemptFacts, StepFacts
from ramp_database.states import State
from ramp_engine.rehearsal.invariants import Expectation, check, left_running
from ramp_engine.rehearsal.records import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
EXPECTED = Expectation(
    states={"one": frozenset({State.SCORED})}, max_attempts=3, max_interruptions=2
)


def runs(*outcomes: str) -> tuple[AttemptFacts, ...]:
    return tuple(
        AttemptFacts(number, 1, NOW, NOW, NOW, outcome, None)
        for number, outcome in enumerate(outcomes, start=1)
    )


GOOD = Record(
    submission_id=5,
    name="one",
    state=State.SCORED,
    attempt=1,
    n_crashes=0,
    steps=(StepFacts(NOW, None, State.NEW, 0, 1, None),),
    attempts=runs("succeeded"),
)
SPENT = replace(
    GOOD,
    state=State.CHECKING_ERROR,
    attempt=3,
    n_crashes=3,
    attempts=runs("crashed", "crashed", "crashed"),
)
INTERRUPTED = replace(SPENT, n_crashes=0, attempts=runs(*["interrupted"] * 3))


@pytest.mark.parametrize("record", [GOOD, SPENT, INTERRUPTED])
def test_what_may_happen_violates_nothing(record: Record) -> None:
    assert check([record], EXPECTED) == []


@pytest.mark.parametrize(
    ("records", "told"),
    [
        pytest.param([], "one was taken and is not there", id="lost"),
        pytest.param(
            [GOOD, replace(GOOD, submission_id=6, name="x")],
            "submission 6: nobody made x",
            id="made by nobody",
        ),
        pytest.param(
            [GOOD, replace(GOOD, submission_id=6)],
            "submission 6: one is there 2 times",
            id="there twice",
        ),
        pytest.param(
            [replace(SPENT, n_crashes=2)],
            "submission 5: it is checking_error after 2 crashes",
            id="given up too early",
        ),
        pytest.param(
            [replace(INTERRUPTED, attempts=runs("interrupted", "interrupted"))],
            "submission 5: it is checking_error after 0 crashes",
            id="interrupted too seldom",
        ),
        pytest.param(
            [replace(GOOD, state=State.TRAINING_ERROR, attempts=runs("failed"))],
            "submission 5: it is training_error instead of scored",
            id="wrong verdict",
        ),
    ],
)
def test_a_planted_violation_is_found(records: Sequence[Record], told: str) -> None:
    assert told in check(records, EXPECTED)


def test_a_process_that_is_left_is_found(tmp_path: Path) -> None:
    token = str(tmp_path)
    assert left_running(token) == []
    code = "print(flush=True); import sys; sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, token], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert left_running(token) == [f"process {process.pid} is left"]
        process.communicate()
