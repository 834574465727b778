"""The plan of a rehearsal follows from its settings."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest

from ramp_database.states import FINAL, PARTICIPANT_ERRORS, State
from ramp_engine.config_sections import DispatcherSection
from ramp_engine.rehearsal import limits, plan
from ramp_engine.rehearsal.plan import Deed, FaultKind, Settings
from ramp_engine.testing import FakeWorkerConfig, Scenario

SETTINGS = Settings(30, 400, seconds=2.0, arrival_seconds=50.0, seed=7, is_chaotic=True)
NUMBERS = range(1, SETTINGS.n_submissions + 1)


def number_of(deed: Deed) -> int:
    return next(number for number in NUMBERS if plan.deed_of(SETTINGS, number) is deed)


def test_the_same_seed_gives_the_same_rehearsal_and_another_one_another() -> None:
    def everything(settings: Settings) -> list[object]:
        runs = [plan.behaviour(settings, number, n) for number in NUMBERS for n in (1, 2)]
        return [plan.arrivals(settings), plan.faults(settings), runs]

    assert everything(SETTINGS) == everything(replace(SETTINGS))
    other = everything(replace(SETTINGS, seed=8))
    assert all(a != b for a, b in zip(everything(SETTINGS), other, strict=True))


def test_a_quarter_arrives_at_once_and_the_others_over_the_whole_time() -> None:
    times = [arrival.at_seconds for arrival in plan.arrivals(SETTINGS)]
    assert times == sorted(times)
    assert sum(at == 0 for at in times) == 100
    assert 45 < times[-1] <= 50
    assert fmean(times[100:]) == pytest.approx(25, rel=0.2)


def test_every_submission_has_a_name_of_its_own_and_no_team_too_many_take_part() -> None:
    planned = plan.arrivals(SETTINGS)
    assert [arrival.number for arrival in planned] == list(NUMBERS)
    assert len({arrival.name for arrival in planned}) == SETTINGS.n_submissions
    assert 1 < len({arrival.team for arrival in planned}) <= SETTINGS.n_teams


def test_a_submission_is_known_by_its_code() -> None:
    assert plan.number_in(plan.source_of(12)) == 12
    with pytest.raises(ValueError, match="no submission of a rehearsal"):
        plan.number_in(b"import numpy\n")


def test_runs_take_the_seconds_asked_for_on_average() -> None:
    seconds = [plan.behaviour(SETTINGS, number, 1)["seconds"] for number in NUMBERS]
    assert fmean(seconds) == pytest.approx(2.0, rel=0.1)
    assert 1 <= min(seconds) <= max(seconds) <= 3


def test_every_run_is_one_that_a_fake_worker_can_play() -> None:
    for number in NUMBERS:
        for n_try in (1, 2, 3):
            FakeWorkerConfig.model_validate(plan.behaviour(SETTINGS, number, n_try))


def test_with_chaos_every_deed_occurs_and_most_are_good() -> None:
    deeds = Counter(plan.deed_of(SETTINGS, number) for number in NUMBERS)
    assert deeds.keys() == set(Deed)
    assert deeds[Deed.GOOD] > SETTINGS.n_submissions / 2


def test_without_chaos_only_participants_fail_and_there_are_no_faults() -> None:
    calm = replace(SETTINGS, is_chaotic=False)
    deeds = {plan.deed_of(calm, number) for number in NUMBERS}
    assert deeds == {Deed.GOOD, Deed.FAILING, Deed.SILENT}
    assert plan.faults(calm) == []


@pytest.mark.parametrize(
    ("deed", "key"),
    [
        (Deed.CRASHING, "fail_in"),
        (Deed.SLOW_CALL, "hang_in"),
        (Deed.HUNG_CALL, "hang_in"),
        (Deed.INTERRUPTED, "scenario"),
    ],
)
def test_what_goes_wrong_through_no_fault_of_the_code_goes_well_the_second_time(
    deed: Deed, key: str
) -> None:
    number = number_of(deed)
    assert key in plan.behaviour(SETTINGS, number, 1)
    assert plan.behaviour(SETTINGS, number, 2).keys() == {"seconds"}


def test_code_that_hangs_hangs_each_time() -> None:
    number = number_of(Deed.HANGING)
    assert plan.behaviour(SETTINGS, number, 3)["scenario"] is Scenario.HANGING


@pytest.mark.parametrize("deed", Deed)
def test_each_deed_has_an_end(deed: Deed) -> None:
    assert plan.expected_states(deed) <= FINAL
    assert plan.expected_states(Deed.GOOD) == {State.SCORED}
    assert plan.expected_states(Deed.FAILING) == PARTICIPANT_ERRORS


def test_every_kind_of_fault_comes_while_submissions_are_under_way() -> None:
    planned = plan.faults(SETTINGS)
    shares = [fault.at_share for fault in planned]
    assert {fault.kind for fault in planned} == set(FaultKind)
    assert shares == sorted(shares)
    assert 0 < shares[0] <= shares[-1] < 0.9


def test_chaos_shortens_limits_and_says_so() -> None:
    section = DispatcherSection()
    changed = limits.chaotic_limits(section, seconds=10)
    assert DispatcherSection(**section.model_dump() | changed).timeout == 40
    told = limits.told_changes(section, changed)
    assert "stale_after_seconds: 3 instead of 60 s" in told
    assert len(told) == len(changed) + 1


def test_limits_that_are_short_already_stay() -> None:
    section = DispatcherSection(
        heartbeat_seconds=0.1,
        stale_after_seconds=1,
        stalled_after_seconds=0.5,
        timeout=1,
        hung_after_seconds=1,
    )
    assert limits.chaotic_limits(section, seconds=0.1) == {}
    assert limits.told_changes(section, {}) == []
