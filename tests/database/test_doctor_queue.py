"""What the doctor says of dispatchers and of the submissions that they own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_database import clock, dispatchers, events
from ramp_database.states import State
from ramp_engine.config import load_event
from ramp_engine.doctor import Finding, Level, queue
from ramp_engine.doctor.patient import Deployment, PatientEvent
from tests.database.conftest import STALE_SECONDS, Toy


@pytest.fixture
def event(toy: Toy) -> PatientEvent:
    patient = PatientEvent(Deployment(None, load_event), Path("events/toy/config.yml"), "toy")
    patient.deployment.database = toy.database
    with toy.session() as session:
        patient.row = events.get_event(session, "toy")
    return patient


def said(findings: Iterator[Finding]) -> list[tuple[Level, str, str]]:
    return [(one.level, one.message, one.remedy) for one in findings]


def test_nothing_to_do_and_nobody_there_is_fine(event: PatientEvent) -> None:
    assert [level for level, _, _ in said(queue.is_served(event))] == [Level.OK]


def test_submissions_that_wait_for_nobody_are_a_problem(toy: Toy, event: PatientEvent) -> None:
    toy.submit()
    ((level, message, remedy),) = said(queue.is_served(event))
    assert (level, message) == (Level.PROBLEM, "1 submissions wait, and no dispatcher runs")
    assert remedy == "ramp launch dispatcher --event-config events/toy/config.yml"


def test_submissions_of_a_dead_dispatcher_are_a_problem_without_another(
    toy: Toy, event: PatientEvent
) -> None:
    claim = toy.bring_to(State.TRAINING)
    with clock.shifted(STALE_SECONDS + 1):
        silent, lost, _ = said(queue.is_served(event))
        assert (silent[0], lost[0]) == (Level.PROBLEM, Level.PROBLEM)
        assert f"dispatcher {claim.dispatcher_id}" in silent[1]
        assert lost[1] == f"submissions of dead dispatchers: {claim.submission_id}"
        live = toy.dispatcher()
        silent, lost, work = said(queue.is_served(event))
    assert (silent[0], lost[0], work[0]) == (Level.WARNING, Level.WARNING, Level.OK)
    assert f"dispatcher {live} takes them back" in lost[2]


def test_submissions_of_a_dispatcher_that_ended_are_found(toy: Toy, event: PatientEvent) -> None:
    claim = toy.bring_to(State.TESTED)
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    lost, _ = said(queue.is_served(event))
    assert (lost[0], str(claim.submission_id) in lost[1]) == (Level.PROBLEM, True)


def test_submissions_that_the_platform_failed_are_named(toy: Toy, event: PatientEvent) -> None:
    assert [level for level, _, _ in said(queue.holds_failures(event))] == [Level.OK]
    failed = [toy.bring_to(State.CHECKING_ERROR).submission_id for _ in range(12)]
    ((level, message, remedy),) = said(queue.holds_failures(event))
    assert level is Level.WARNING
    assert message.endswith(f"{failed[9]} and 2 more")
    assert remedy == "ramp retry --failed --event toy"
