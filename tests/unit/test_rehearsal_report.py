"""The conclusions that are drawn from a rehearsal."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ramp_database.history import AttemptFacts, StepFacts
from ramp_database.states import State
from ramp_engine.rehearsal.meter import Costs
from ramp_engine.rehearsal.records import Record
from ramp_engine.rehearsal.report import (
    Measured,
    Sample,
    find_bottleneck,
    make_report,
    recommend,
)


def sample(at: float, *, waiting: int, ended: int, machine: float = 0.3) -> Sample:
    return Sample(
        float(at), n_waiting=waiting, n_running=2, n_scoring=0, n_ended=ended, machine_share=machine
    )


#: Ten submissions a second pass, more wait; nothing but the slots is busy.
BUSY = Measured(
    n_submissions=100,
    n_attempts=100,
    wall_seconds=10.0,
    to_start=[float(seconds) for seconds in range(101)],
    to_score=[1.0, 1.0],
    run_seconds=0.18,
    slot_seconds=0.2,
    arrival_seconds=10.0,
    n_workers=2,
    n_dispatchers=1,
    n_cores=2,
    samples=[sample(at, waiting=5, ended=10 * at) for at in range(11)],
    costs=[Costs(n_statements=1200, database_seconds=0.5, cpu_seconds=1.0)],
)


def with_costs(**costs: float) -> Measured:
    return replace(BUSY, costs=[replace(BUSY.costs[0], **costs)])


def test_figures_are_those_of_a_submission() -> None:
    report = make_report(replace(BUSY, costs=[*BUSY.costs, Costs(n_statements=300)]))
    assert report.statements_a_submission == 15
    assert report.cpu_seconds_a_submission == pytest.approx(0.01)
    assert report.database_seconds_a_submission == pytest.approx(0.005)
    assert report.engine_seconds_a_submission == pytest.approx(0.02)
    assert report.submissions_an_hour == pytest.approx(36_000)
    assert (report.to_start_p50, report.to_start_p95) == (50, 95)


def test_there_are_no_quantiles_of_nothing() -> None:
    report = make_report(replace(BUSY, to_start=[], to_score=[2.0]))
    assert (report.to_start_p50, report.to_start_p95) == (None, None)
    assert (report.to_score_p50, report.to_score_p95) == (2, 2)


def test_a_rehearsal_in_which_nothing_happened_has_a_report() -> None:
    nothing = replace(
        BUSY, n_submissions=0, wall_seconds=0, to_start=[], to_score=[], samples=[], costs=[]
    )
    assert make_report(nothing).bottleneck.name == "none"


def test_nothing_is_narrow_when_submissions_start_as_they_come() -> None:
    calm = [sample(at, waiting=0, ended=10 * at) for at in range(11)]
    assert find_bottleneck(replace(BUSY, samples=calm)).name == "none"


def test_slots_that_are_filled_by_runs_are_the_bottleneck() -> None:
    found = find_bottleneck(BUSY)
    assert found.name == "workers"
    assert "2.0 of 2 slots" in found.evidence
    assert "90%" in found.evidence


def test_a_dispatcher_that_uses_a_whole_core_is_the_bottleneck() -> None:
    found = find_bottleneck(with_costs(cpu_seconds=9.5))
    assert found.name == "the dispatcher's CPU"
    assert "95%" in found.evidence


def test_a_machine_without_idle_cores_is_the_bottleneck() -> None:
    full = [sample(at, waiting=5, ended=10 * at, machine=0.98) for at in range(11)]
    assert find_bottleneck(replace(BUSY, samples=full)).name == "the machine's CPU"


def test_a_lock_that_is_always_held_is_the_bottleneck() -> None:
    found = find_bottleneck(with_costs(lock_seconds=9.2))
    assert found.name == "the database"
    assert "92%" in found.evidence


def test_a_slow_database_is_the_bottleneck_when_runs_are_short() -> None:
    found = find_bottleneck(replace(with_costs(database_seconds=12.0), run_seconds=0.02))
    assert found.name == "the database"
    assert "120.0 ms" in found.evidence


def test_what_nothing_explains_is_said_to_be_unexplained() -> None:
    found = find_bottleneck(replace(BUSY, run_seconds=0.02))
    assert found.name == "the rest of the engine"


def test_enough_workers_are_recommended_for_the_arrivals_with_a_fifth_free() -> None:
    found = recommend(replace(BUSY, slot_seconds=1.0))
    assert found.n_workers == 13  # 10 a second for 1 s each
    assert "10.0 slots" in found.reason


def test_the_slots_are_those_of_all_dispatchers() -> None:
    assert recommend(replace(BUSY, slot_seconds=1.0, n_dispatchers=4)).n_workers == 4


def test_no_more_workers_are_recommended_than_the_cpu_can_feed() -> None:
    found = recommend(replace(with_costs(cpu_seconds=40.0), slot_seconds=2.0))
    assert found.n_workers == 4  # 2.5 a second at most, of which four fifths are used
    assert "CPU" in found.reason


def test_no_more_workers_are_recommended_than_the_lock_lets_pass() -> None:
    found = recommend(replace(with_costs(lock_seconds=50.0), slot_seconds=2.0))
    assert found.n_workers == 3
    assert "SQLite" in found.reason


def test_at_least_one_worker_is_recommended() -> None:
    assert recommend(replace(BUSY, arrival_seconds=1e6)).n_workers == 1


def test_a_slot_is_held_until_the_predictions_are_there_and_not_while_they_are_scored() -> None:
    def at(seconds: float) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)

    def step(seconds: float, state: State, attempt: int) -> StepFacts:
        return StepFacts(at(seconds), None, state, attempt, 1, None)

    record = Record(
        submission_id=1,
        name="one",
        state=State.SCORED,
        attempt=2,
        n_crashes=1,
        steps=(
            step(0, State.NEW, 0),
            step(3, State.TESTED, 1),
            step(8, State.TESTED, 2),
            step(9, State.SCORED, 2),
        ),
        attempts=(
            AttemptFacts(1, 1, at(1), at(1), at(4), "crashed", "the scores could not be read"),
            AttemptFacts(2, 1, at(6), at(6), at(9), "succeeded", None),
        ),
    )
    assert record.slot_seconds == [2.0]
