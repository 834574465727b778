"""What must hold at the end of a rehearsal, whatever happened in it.

`check` is a pure function of the records; `left_behind` looks at the disk and the processes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ramp_database.states import FINAL, TRANSITIONS, State
from ramp_engine.attempt import left_on_disk
from ramp_engine.config import EventConfig
from ramp_engine.rehearsal.records import Record
from ramp_engine.testing.processes import processes_with

__all__ = ["Expectation", "Violation", "check", "left_behind"]

#: Steps in which a submission stays in its state: another dispatcher took it over.
_TAKEN_OVER = {(state, state) for state in (State.TESTED, State.TRAINING, State.SENT_TO_TRAINING)}


@dataclass(frozen=True)
class Violation:
    """Something that does not hold."""

    invariant: str  #: which one, in words
    found: str  #: what there was instead
    submission_id: int | None = None  #: None when it is about none

    def __str__(self) -> str:
        about = "" if self.submission_id is None else f"submission {self.submission_id}: "
        return f"{self.invariant}: {about}{self.found}"


@dataclass(frozen=True)
class Expectation:
    """What the records are held against."""

    states: dict[str, frozenset[State]]  #: by the name of each submission that was taken
    max_attempts: int
    max_interruptions: int
    n_folds: int
    n_score_types: int


def check(records: Sequence[Record], expected: Expectation) -> list[Violation]:
    """Find what does not hold.

    Parameters
    ----------
    records : sequence of Record
        All of the event, read when nothing is under way any more.
    expected : Expectation
    """
    found = list(_lost(records, expected))
    for record in records:
        for one in _CHECKS:
            found += [
                Violation(invariant, words, record.submission_id)
                for invariant, words in one(record, expected)
            ]
    return found


def _lost(records: Sequence[Record], expected: Expectation) -> Iterator[Violation]:
    """Find what is missing, what nobody made, and what is there twice."""
    counts = Counter(record.name for record in records)
    for name in expected.states.keys() - counts.keys():
        yield Violation("none is lost", f"{name} was taken and is not there")
    for record in records:
        if record.name not in expected.states:
            yield Violation("none is lost", f"nobody made {record.name}", record.submission_id)
        elif counts[record.name] > 1:
            what = f"{record.name} is there {counts[record.name]} times"
            yield Violation("recorded exactly once", what, record.submission_id)


_Found = Iterator[tuple[str, str]]


def _stuck(record: Record, _expected: Expectation) -> _Found:
    if not record.state.is_final:
        yield "none is stuck", f"is {record.state}, attempt {record.attempt}"
    elif record.dispatcher_id is not None:
        yield "none is stuck", f"is {record.state}, and dispatcher {record.dispatcher_id} owns it"


def _recorded_once(record: Record, _expected: Expectation) -> _Found:
    """Count the steps to a final state: one, and one more for each reopening."""
    n_final = sum(step.to_state.is_final for step in record.steps)
    n_reopened = sum(step.from_state in FINAL for step in record.steps)
    if record.state.is_final and n_final != n_reopened + 1:
        yield "recorded exactly once", f"became final {n_final} times, reopened {n_reopened} times"


def _history(record: Record, _expected: Expectation) -> _Found:
    """Follow the chain of transitions from the arrival to the state."""
    state: State | None = None
    for step in record.steps:
        if step.from_state is not state:
            yield "history is whole", f"a step from {step.from_state} follows one to {state}"
        move = (step.from_state, step.to_state)
        is_first = step.from_state is None and step.to_state is State.NEW
        is_known = step.from_state is not None and step.to_state in TRANSITIONS[step.from_state]
        if not (is_first or is_known or move in _TAKEN_OVER):
            yield "history is whole", f"there is no step from {step.from_state} to {step.to_state}"
        state = step.to_state
    if state is not record.state:
        yield "history is whole", f"it ends with {state}, the state is {record.state}"


def _attempts(record: Record, _expected: Expectation) -> _Found:
    """Hold the attempts against the claims, and their outcomes against the submission's."""
    numbers = [one.number for one in record.attempts]
    if numbers != list(range(1, record.attempt + 1)):
        yield "attempts match the history", f"attempt is {record.attempt}, recorded are {numbers}"
    n_claims = sum(
        step.from_state is State.NEW and step.to_state is State.SENT_TO_TRAINING
        for step in record.steps
    )
    if n_claims != len(numbers):
        yield "attempts match the history", f"{len(numbers)} attempts, {n_claims} claims"
    for one in record.attempts:
        if record.state.is_final and (one.outcome is None or one.finished_at is None):
            yield "attempts match the history", f"attempt {one.number} has no end"
    n_last = sum(one.outcome not in _AGAIN for one in record.attempts)
    n_reopened = sum(step.from_state in FINAL for step in record.steps)
    if n_last > n_reopened + 1:
        yield "recorded exactly once", f"{n_last} attempts have a result"
    if record.state.is_final and record.attempts:
        last = record.attempts[-1].outcome
        if last != record.outcome:
            yield "attempts match the history", f"the last {last}, the submission {record.outcome}"


#: Outcomes after which a submission is evaluated again.
_AGAIN = frozenset({None, "crashed", "interrupted"})


def _scores(record: Record, expected: Expectation) -> _Found:
    """Count the scores: one set when it is scored, none otherwise."""
    is_scored = record.state is State.SCORED
    wanted = (
        ("fold scores", record.n_fold_scores, expected.n_folds * expected.n_score_types),
        ("fold times", record.n_fold_times, expected.n_folds),
        ("bagged scores", record.n_bagged_scores, expected.n_score_types),
        ("official scores", int(record.has_score), 1),
    )
    for name, n_found, n_wanted in wanted:
        n_right = n_wanted if is_scored else 0
        if n_found != n_right:
            yield "scores are there once", f"{n_found} {name} instead of {n_right}"


def _ending(record: Record, expected: Expectation) -> _Found:
    """Hold the state against the planned one; attempts may be spent on faults of ours."""
    states = expected.states.get(record.name)
    if states is None or not record.state.is_final:
        return
    n_interruptions = sum(one.outcome == "interrupted" for one in record.attempts)
    is_spent = (
        record.n_crashes >= expected.max_attempts or n_interruptions > expected.max_interruptions
    )
    if record.state is State.CHECKING_ERROR and not is_spent:
        yield "the state is right", f"checking_error after {record.n_crashes} crashes"
    elif record.state not in states | {State.CHECKING_ERROR}:
        yield "the state is right", f"is {record.state} instead of {', '.join(sorted(states))}"


_CHECKS: tuple[Callable[[Record, Expectation], _Found], ...] = (
    _stuck,
    _recorded_once,
    _history,
    _attempts,
    _scores,
    _ending,
)


def left_behind(event: EventConfig, records: Sequence[Record], token: str) -> list[Violation]:
    """Find processes and files of attempts that are left, and outputs that are missing.

    Parameters
    ----------
    event : EventConfig
    records : sequence of Record
    token : str
        What every process of the rehearsal carries in its command.
    """
    ramp = event.ramp
    found = [Violation("no process is left", f"process {pid}") for pid in processes_with(token)]
    parents = (ramp.submissions_dir, ramp.predictions_dir, ramp.logs_dir)
    for path, claim in left_on_disk(ramp.work_dir / "attempts", *parents).items():
        found.append(Violation("no attempt is left on disk", str(path), claim.submission_id))
    for record in records:
        path = ramp.predictions_dir / f"submission_{record.submission_id:09d}"
        if record.state is State.SCORED and not path.is_dir():
            found.append(
                Violation("outputs are there", f"there is no {path}", record.submission_id)
            )
    return found
