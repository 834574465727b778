"""The history of a submission, in words: every state, whoever did what."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ramp_database.history import AttemptFacts, History, StepFacts
from ramp_database.presence import Presence
from ramp_database.provenance import Provenance
from ramp_database.states import FINAL, OWNED, PARTICIPANT_ERRORS, TRANSITIONS, State
from ramp_engine.narrative import moment, summary, tell

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def dispatcher(number: int = 7, **changes: Any) -> Presence:
    live = Presence(number, "node-3", 4711, NOON, None, None, after(30), 60.0, 1.0)
    return replace(live, **changes)


def history(state: State, *steps: StepFacts, **changes: Any) -> History:
    values: dict[str, Any] = {
        "submission_id": 4,
        "event": "iris",
        "config_path": "events/iris/config.yml",
        "team": "blue",
        "name": "first",
        "state": state,
        "n_crashes": 0,
        "not_before": None,
        "cancel_requested_at": None,
        "cancel_reason": None,
        "error": None,
        "dispatcher_id": 7 if state in OWNED else None,
        "read_at": after(31),
        "n_ahead": 0,
        "steps": steps,
        "attempts": (AttemptFacts(1, 7, NOON, NOON, after(2.5), "failed", "KeyError: 'x'"),),
        "dispatchers": {7: dispatcher()},
        "live_dispatchers": (dispatcher(),),
    }
    return History(**(values | changes))


def step(
    source: State | None, target: State, owner: int | None = 7, reason: str = "because"
) -> StepFacts:
    return StepFacts(NOON, source, target, 1, owner, reason)


def told(one: StepFacts, **changes: Any) -> Any:
    return tell(history(one.to_state, one, **changes)).steps[0]


def next_of(state: State, **changes: Any) -> str:
    return "\n".join(tell(history(state, **changes)).next)


def ended(outcome: str, error: str | None = None) -> tuple[AttemptFacts, ...]:
    return (AttemptFacts(1, 7, NOON, NOON, after(2.5), outcome, error),)


@pytest.mark.parametrize("owner", [7, None])
@pytest.mark.parametrize(
    ("source", "target"),
    [(source, target) for source in sorted(TRANSITIONS) for target in sorted(TRANSITIONS[source])],
)
def test_every_transition_is_told_with_who_and_why(
    source: State, target: State, owner: int | None
) -> None:
    one = told(step(source, target, owner))
    assert one.what
    assert one.who == ("dispatcher 7 (node-3, process 4711; alive)" if owner else "by hand")
    is_progress = target in OWNED or target is State.SCORED
    is_code = owner is not None and target in PARTICIPANT_ERRORS
    assert one.why == ("" if is_progress else "KeyError: 'x'" if is_code else "because")


@pytest.mark.parametrize("state", list(State))
def test_every_state_says_what_happens_next(state: State) -> None:
    text = next_of(state)
    assert text
    assert ("ramp retry 4" in text) == (state in FINAL)


def test_the_first_step_is_the_teams() -> None:
    one = told(step(None, State.NEW, None, "submitted"))
    assert (one.what, one.who, one.why) == ("submitted", "team blue", "")
    one = told(step(None, State.NEW, None, "taken over from elsewhere"))
    assert (one.what, one.who, one.why) == ("taken over from elsewhere", "by hand", "")


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        ("crashed", "the platform failed, which is counted"),
        ("interrupted", "interrupted and given back, which is not counted"),
    ],
)
def test_an_attempt_that_is_tried_again_says_whether_it_counts(outcome: str, words: str) -> None:
    one = told(step(State.TRAINING, State.NEW), attempts=ended(outcome))
    assert words in one.what
    assert "after 2.5 s" in one.what
    assert "it waits to be tried again" in one.what


def test_spent_attempts_are_told() -> None:
    one = told(step(State.TRAINING, State.CHECKING_ERROR), attempts=ended("crashed"))
    assert one.what.endswith("its attempts are spent")


def test_a_time_limit_is_told_with_its_phase() -> None:
    one = told(step(State.TRAINING, State.TRAINING_ERROR), attempts=ended("timed_out", "7 s"))
    assert "it took longer than allowed while it was trained" in one.what
    assert one.why == "7 s"


def test_a_rescue_is_told_as_going_on_under_another() -> None:
    rescued = told(step(State.TESTED, State.TESTED)).what
    assert rescued == "attempt 1: its predictions are scored under another dispatcher"


def test_an_adoption_is_told_as_going_on_under_another() -> None:
    adopted = told(step(State.TRAINING, State.TRAINING)).what
    assert adopted == "attempt 1: its run goes on under another dispatcher"


def test_a_wish_to_cancel_is_a_step_of_its_own() -> None:
    wish = told(step(State.TRAINING, State.TRAINING, None, "cancel requested: typo"))
    assert wish.what == "attempt 1: somebody asks to cancel it"
    assert wish.why == "cancel requested: typo"
    assert told(step(State.TESTED, State.TESTED, reason="rescued")).why == "rescued"


def test_what_an_organiser_took_back_is_not_the_dispatchers_doing() -> None:
    one = told(step(State.TRAINING, State.CANCELED, None))
    assert "an organiser took it back, the submission is canceled" in one.what


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "alive"),
        ({"silent_seconds": 61.0}, "no sign of life for 61 s"),
        ({"ended_at": NOON, "ended_reason": "stale: ended by dispatcher 8"}, "stale: ended by"),
    ],
)
def test_a_dispatcher_is_alive_silent_or_ended(changes: dict[str, Any], words: str) -> None:
    one = told(step(State.NEW, State.SENT_TO_TRAINING), dispatchers={7: dispatcher(**changes)})
    assert words in one.who


def test_a_dispatcher_that_nobody_knows_any_more_keeps_its_number() -> None:
    one = told(step(State.NEW, State.SENT_TO_TRAINING), dispatchers={})
    assert "dispatcher 7, of which nothing is known" in one.who


@pytest.mark.parametrize(
    ("n_ahead", "words"), [(0, "is the next"), (1, "1 other is"), (3, "3 others are")]
)
def test_a_waiting_one_knows_its_place(n_ahead: int, words: str) -> None:
    assert words in next_of(State.NEW, n_ahead=n_ahead)


def test_a_delay_is_told_with_its_end() -> None:
    zone = timezone(timedelta(hours=2))
    waits = history(State.NEW, n_crashes=2, not_before=after(47))
    (first, _) = tell(waits, zone).next
    assert first == (
        "After 2 crashes of the platform it is not claimed before 2026-11-21 14:00:47+02:00, "
        "in 16 s."
    )


def test_one_that_was_only_interrupted_is_not_told_of_crashes() -> None:
    waits = {"not_before": after(47), "attempts": ended("interrupted", "no room")}
    assert "is not claimed before" in next_of(State.NEW, **waits)
    assert "crash" not in next_of(State.NEW, **waits)


def test_a_delay_that_is_over_is_not_told() -> None:
    assert "crash" not in next_of(State.NEW, n_crashes=1, not_before=after(30))


def test_without_a_dispatcher_the_command_that_starts_one_is_named() -> None:
    command = "ramp launch dispatcher --event-config events/iris/config.yml"
    assert command in next_of(State.NEW, live_dispatchers=())
    silent = {"dispatchers": {7: dispatcher(silent_seconds=90.0)}, "live_dispatchers": ()}
    for state in OWNED:
        text = next_of(state, **silent)
        assert command in text
        assert "no sign of life for 90 s" in text


def test_a_dead_owners_submission_is_taken_back_by_one_that_lives() -> None:
    dead = {7: dispatcher(silent_seconds=90.0)}
    text = next_of(State.TRAINING, dispatchers=dead, live_dispatchers=(dispatcher(8),))
    assert "Dispatcher 8 lives and takes it back" in text


def test_a_wish_to_cancel_is_told_with_its_reason() -> None:
    wish = {"cancel_requested_at": after(20), "cancel_reason": "wrong file"}
    text = next_of(State.TRAINING, **wish)
    assert "wrong file" in text
    assert "ends the run" in text
    assert "scores its predictions" in next_of(State.TESTED, **wish)


def test_several_dispatchers_are_all_named() -> None:
    text = next_of(State.NEW, live_dispatchers=(dispatcher(7), dispatcher(9)))
    assert "Dispatchers 7, 9 run" in text


def test_the_headline_names_submission_team_event_and_state() -> None:
    assert (
        tell(history(State.SCORED)).headline == "submission 4, first of team blue in iris: scored"
    )


def test_times_have_their_offset() -> None:
    assert moment(NOON, timezone(timedelta(hours=-5))) == "2026-11-21 07:00:00-05:00"


TRACEBACK = 'Traceback (most recent call last):\n  File "estimator.py", line 3\nKeyError: 7\n'


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("", ""),
        ("\n  \n", ""),
        ("time limit exceeded", "time limit exceeded"),
        (
            f"fold 0 failed while training: KeyError: 7\n\n{TRACEBACK}",
            "fold 0 failed while training: KeyError: 7",
        ),
        (TRACEBACK, "KeyError: 7"),
        ("Traceback", "Traceback"),
        (
            "We failed: no node\nattempt 1 crashed: disk\nattempt 2 crashed: no node\nAsk us.",
            "We failed: no node",
        ),
    ],
)
def test_an_error_is_summed_up_by_its_first_line(error: str, expected: str) -> None:
    assert summary(error) == expected


def test_what_an_attempt_was_evaluated_with_is_told_in_short_hashes() -> None:
    known = Provenance("b" * 64, "k" * 64, "d" * 64, "f" * 64, None, "s" * 64, "1.2.3")
    (attempt,) = ended("failed")
    unknown = replace(attempt, number=2)
    attempts = (replace(attempt, provenance=known.to_json()), unknown)
    (line,) = tell(history(State.NEW, attempts=attempts)).made_with
    shown = ", ".join(f"{name} {name[0] * 12}" for name in ("kit", "data", "folds"))
    rest = "environment unknown, submission ssssssssssss, ramp 1.2.3"
    assert line == f"attempt 1: {shown}, {rest}"
