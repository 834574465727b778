"""The verdict on an attempt: the one place that decides whose failure it was.

Workers and trusted steps report facts; `judge` turns them into a `Verdict`. It is a pure function,
and its rules are in the order in which they are tried.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from ramp_database.states import PARTICIPANT_ERRORS, State
from ramp_engine.evaluation.failure import DOING

#: Exit codes of the fold step that tell of a fault of ours or of the kit's.
EXIT_KIT, EXIT_OURS = 3, 70
#: The longest error text that is kept of an attempt, in characters.
MAX_ERROR_LENGTH = 20_000


class Outcome(StrEnum):
    """What became of an attempt."""

    SUCCEEDED = "succeeded"  #: predictions of every fold are there
    FAILED = "failed"  #: the participant's code failed
    TIMED_OUT = "timed_out"  #: it took longer than allowed
    OUT_OF_MEMORY = "out_of_memory"  #: it took more memory than allowed
    LIMIT_EXCEEDED = "limit_exceeded"  #: it went beyond another limit
    CRASHED = "crashed"  #: the platform failed; counts towards ``max_attempts``
    INTERRUPTED = "interrupted"  #: given back through no fault of anybody; not counted
    CANCELED = "canceled"  #: somebody asked for it


class Stop(StrEnum):
    """Why a dispatcher ended a run before its time."""

    CANCELED = "canceled"  #: its team, or the organiser, asked for it
    SHUTDOWN = "shutdown"  #: the dispatcher is going down
    CLAIM_LOST = "claim_lost"  #: the submission belongs to somebody else by now


@dataclass(frozen=True)
class LimitFacts:
    """A limit beyond which a fold went, and was ended."""

    name: str  #: such as ``memory``
    figure: float  #: what it took
    allowed: float  #: the limit
    unit: str  #: of both


@dataclass(frozen=True)
class FoldFacts:
    """What a fold left behind."""

    fold: int  #: from 0
    state: str | None  #: content of ``state.txt``, None without one
    error: str | None  #: content of ``error.txt``, None without one
    has_predictions: bool  #: whether there are predictions of the training data
    limit: LimitFacts | None = None  #: None unless it went beyond one


@dataclass(frozen=True)
class Facts:
    """What is known of an attempt when it has ended."""

    n_folds: int  #: how many folds the event has
    stop: Stop | None = None  #: the dispatcher's reason to end it early
    worker_status: str = "collected"  #: the worker's status when it ended
    returncode: int | None = None  #: exit code of the run, None when unknown
    error_msg: str = ""  #: the worker's own words on a failure
    crash: str | None = None  #: the error that a worker or a trusted step raised
    is_unavailable: bool = False  #: the error says that there is no room just now
    full_dir: Path | None = None  #: the error says that there is no room on the disk of this
    timeout_seconds: float | None = None  #: the time limit of the submission
    is_adopted: bool = False  #: whether another dispatcher had started the run
    folds: tuple[FoldFacts, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """What is to be recorded of an attempt."""

    outcome: Outcome
    state: State | None  #: the state that follows from it; None: the queue decides
    error: str | None = None  #: for the participant; None when there is nothing to tell
    fold: int | None = None  #: the one that failed, where that is known
    is_disk_full: bool = False  #: whether others will end like this until somebody makes room


#: Limits of which the outcome has a name of its own.
_LIMIT_OUTCOMES = {"memory": Outcome.OUT_OF_MEMORY, "fold_seconds": Outcome.TIMED_OUT}
_PHASES = {
    None: State.TRAINING_ERROR,
    "trained": State.VALIDATING_ERROR,
    "validated": State.TESTING_ERROR,
}


def judge(facts: Facts) -> Verdict:
    """Decide what became of an attempt.

    Parameters
    ----------
    facts : Facts
        What the worker, the trusted steps and the dispatcher saw.

    Returns
    -------
    Verdict
        `Outcome.SUCCEEDED` only when every fold left its predictions.
    """
    for rule in (
        _stopped,
        _crashed,
        _timed_out,
        _beyond_limit,
        _failed_fold,
        _failed_run,
        _lost_folds,
        _incomplete,
    ):
        verdict = rule(facts)
        if verdict is not None:
            return replace(verdict, error=tellable(verdict.error or ""))
    return Verdict(Outcome.SUCCEEDED, State.TESTED)


def not_scorable(bundle: str | None, *, is_rescued: bool) -> Verdict:
    """Tell why published predictions are not scored: they are made again instead.

    Parameters
    ----------
    bundle : str or None
        Name of the one that they were made with; None when they are not there.
    is_rescued : bool
        Whether another dispatcher had published them.
    """
    if bundle is None:
        # who died while it published the scores is counted already, by the rescue
        outcome = Outcome.INTERRUPTED if is_rescued else Outcome.CRASHED
        return Verdict(outcome, None, "the published predictions are gone or changed")
    reason = "the event was deployed again after they were made"
    return Verdict(Outcome.INTERRUPTED, None, f"the predictions are out of date: {reason}")


def tellable(error: str) -> str:
    """Give an error as it can be stored and shown: of bounded length, without NUL.

    PostgreSQL takes no NUL in a text, and a participant's error may hold anything.
    """
    error = error.replace("\0", "\\x00")
    if len(error) > MAX_ERROR_LENGTH:
        half = MAX_ERROR_LENGTH // 2
        error = f"{error[:half]}\n[...]\n{error[-half:]}"
    return error


def _stopped(facts: Facts) -> Verdict | None:
    if facts.stop is Stop.CANCELED:
        return Verdict(Outcome.CANCELED, State.CANCELED, "canceled on request")
    if facts.stop is not None:
        return Verdict(Outcome.INTERRUPTED, None, f"interrupted: {facts.stop.value}")
    if facts.full_dir is not None:
        reason = f"interrupted: the disk of {facts.full_dir} is full, make room there"
        told = f"{reason} ({facts.crash})" if facts.crash else reason
        return Verdict(Outcome.INTERRUPTED, None, told, is_disk_full=True)
    if facts.worker_status == "retry" or facts.is_unavailable:
        reason = facts.crash or facts.error_msg or "the worker's machine was taken away"
        return Verdict(Outcome.INTERRUPTED, None, f"interrupted: {reason}")
    return None


def _crashed(facts: Facts) -> Verdict | None:
    if facts.crash is not None:
        return Verdict(Outcome.CRASHED, None, facts.crash)
    if facts.returncode in (EXIT_KIT, EXIT_OURS):
        reason = facts.error_msg or f"the fold step ended with code {facts.returncode}"
        return Verdict(Outcome.CRASHED, None, reason)
    if facts.worker_status == "error":
        return Verdict(Outcome.CRASHED, None, facts.error_msg or "the worker reported an error")
    return None


def _timed_out(facts: Facts) -> Verdict | None:
    if facts.worker_status != "timeout":
        return None
    fold = _last(facts)
    state = (fold and _told_state(fold)) or _phase(fold)
    seconds = f"{facts.timeout_seconds:g} s" if facts.timeout_seconds else ""
    amounts = f"{seconds} of {seconds}" if seconds else "the time limit is exceeded"
    where = f", in fold {fold.fold}, {DOING[state]}" if fold else ""
    error = f"out of time: {amounts} for the whole submission{where}"
    return Verdict(Outcome.TIMED_OUT, state, error, fold.fold if fold else None)


def _beyond_limit(facts: Facts) -> Verdict | None:
    for fold in facts.folds:
        if fold.limit is not None:
            outcome = _LIMIT_OUTCOMES.get(fold.limit.name, Outcome.LIMIT_EXCEEDED)
            state = _told_state(fold) or _phase(fold)
            error = fold.error or _limit_text(fold.fold, fold.limit)
            return Verdict(outcome, state, error, fold.fold)
    return None


def _told_state(fold: FoldFacts) -> State | None:
    """Give the state that says in which phase a fold failed; None unless it has failed."""
    return next((state for state in PARTICIPANT_ERRORS if state == fold.state), None)


def _limit_text(fold: int, limit: LimitFacts) -> str:
    figures = f"{limit.figure:g} of {limit.allowed:g} {limit.unit}".rstrip()
    return f"limit exceeded: {limit.name}, {figures} in fold {fold}"


def _failed_fold(facts: Facts) -> Verdict | None:
    for fold in facts.folds:
        state = _told_state(fold)
        if state is not None:
            error = fold.error or facts.error_msg or f"fold {fold.fold} failed"
            return _failed(state, error, fold.fold)
    return None


def _failed_run(facts: Facts) -> Verdict | None:
    code = facts.returncode
    if not code:
        return None
    error = facts.error_msg or _exit_text(code)
    fold = _last(facts)
    return _failed(_phase(fold), error, fold.fold if fold else None)


def _lost_folds(facts: Facts) -> Verdict | None:
    if not facts.is_adopted or not _missing(facts):
        return None
    reason = "folds that an earlier attempt has done are on the machine of another dispatcher"
    return Verdict(Outcome.INTERRUPTED, None, f"interrupted: {reason}")


def _missing(facts: Facts) -> list[int]:
    done = {fold.fold for fold in facts.folds if fold.has_predictions}
    return [fold for fold in range(facts.n_folds) if fold not in done]


def _incomplete(facts: Facts) -> Verdict | None:
    missing = _missing(facts)
    if not missing:
        return None
    state = next((fold.state for fold in facts.folds if fold.fold == missing[0]), None)
    error = (
        f"no predictions of fold {missing[0]} that could be taken, though the run ended as if all "
        "were well. Does the code end the process, with os._exit() for instance?"
    )
    return _failed(_PHASES.get(state, State.TESTING_ERROR), error, missing[0])


def _failed(state: State, error: str, fold: int | None) -> Verdict:
    return Verdict(Outcome.FAILED, state, error, fold)


def _last(facts: Facts) -> FoldFacts | None:
    """Give the fold that was being worked on: the first that is not tested, or the next."""
    for fold in facts.folds:
        if fold.state != "tested":
            return fold
    n_begun = len(facts.folds)
    return FoldFacts(n_begun, None, None, False) if n_begun < facts.n_folds else None


def _phase(fold: FoldFacts | None) -> State:
    return _PHASES.get(fold.state if fold else None, State.TRAINING_ERROR)


def _exit_text(code: int) -> str:
    number = -code if code < 0 else code - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"the run ended with exit code {code}"
    text = f"the run was killed by signal {name}"
    if name == "SIGKILL":
        text += ", as the system does to a process that takes more memory than there is"
    return text
