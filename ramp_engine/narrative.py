"""The history of a submission in plain words: what happened, who did it, and what happens next.

Pure functions over the facts of `ramp_database.history`. The texts hold what participants wrote, as
they wrote it: whoever prints them makes them fit for a terminal.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, tzinfo

from ramp_database.history import AttemptFacts, History, StepFacts
from ramp_database.presence import Presence
from ramp_database.provenance import PARTS, Provenance
from ramp_database.queue import SUBMITTED
from ramp_database.states import FINAL, OWNED, PARTICIPANT_ERRORS, State
from ramp_engine import prospects
from ramp_engine.fold_outputs import headline

__all__ = ["Narrative", "Told", "moment", "summary", "tell"]

#: So many digits are shown of a hash.
N_SHOWN = 12
#: What the participant's code did when it failed, by the state that followed.
_PHASES = {
    State.TRAINING_ERROR: "while it was trained",
    State.VALIDATING_ERROR: "while it predicted the training data",
    State.TESTING_ERROR: "while it predicted the test data",
}
#: What became of an attempt, by its outcome.
_OUTCOMES = {
    "failed": "the submission's code failed",
    "timed_out": "it took longer than allowed",
    "out_of_memory": "it took more memory than allowed",
    "limit_exceeded": "it went beyond a limit",
    "crashed": "the platform failed, which is counted",
    "interrupted": "it was interrupted and given back, which is not counted",
    "canceled": "it was canceled",
}


@dataclass(frozen=True)
class Told:
    """A step, in words."""

    at: datetime  #: aware UTC
    what: str
    who: str  #: the process or the person that did it
    why: str  #: the reason, of one or more lines; empty without one


@dataclass(frozen=True)
class Narrative:
    """The history of a submission, in words."""

    headline: str
    steps: tuple[Told, ...]  #: the oldest first
    next: tuple[str, ...]  #: what happens next, a sentence each
    made_with: tuple[str, ...] = ()  #: what each attempt was evaluated with, where that is known


def tell(history: History, zone: tzinfo | None = None) -> Narrative:
    """Tell the history of a submission.

    Parameters
    ----------
    history : History
    zone : tzinfo, optional
        For times in the sentences; default: that of this machine.
    """
    title = f"submission {history.submission_id}, {history.name} of team {history.team}"
    attempts = {one.number: one for one in history.attempts}
    return Narrative(
        f"{title} in {history.event}: {history.state}",
        tuple(_told(step, history, attempts.get(step.attempt)) for step in history.steps),
        prospects.of(history, lambda at: moment(at, zone), _process),
        tuple(_made_with(one) for one in history.attempts if one.provenance),
    )


def _made_with(attempt: AttemptFacts) -> str:
    known = Provenance.from_json(attempt.provenance or {})
    parts = (*PARTS, "submission")
    hashes = [f"{name} {(getattr(known, name) or 'unknown')[:N_SHOWN]}" for name in parts]
    return f"attempt {attempt.number}: {', '.join(hashes)}, ramp {known.engine or 'unknown'}"


def moment(at: datetime, zone: tzinfo | None = None) -> str:
    """Write a time as people read it, with its offset from UTC.

    Parameters
    ----------
    at : datetime
        Aware.
    zone : tzinfo, optional
        Default: that of this machine.
    """
    return at.astimezone(zone).isoformat(" ", "seconds")


def _told(step: StepFacts, history: History, attempt: AttemptFacts | None) -> Told:
    return Told(step.at, _what(step, attempt), _who(step, history), _why(step, attempt))


def _what(step: StepFacts, attempt: AttemptFacts | None) -> str:
    source, target = step.from_state, step.to_state
    if source is None:
        return step.reason or SUBMITTED
    if source in FINAL and source is target:
        return "its predictions were deleted from the disk, its scores stay"
    if source in FINAL:
        return f"opened again after {source}: it is evaluated anew, its history is kept"
    if source is State.NEW and target is not State.SENT_TO_TRAINING:
        return f"{target} before it was claimed"
    number = f"attempt {step.attempt}"
    if source is State.NEW:
        return f"{number}: claimed"
    if source is target and step.dispatcher_id is None:
        return f"{number}: somebody asks to cancel it"
    if source is target:
        return f"{number}: {_taken_over(target)} under another dispatcher"
    if target in OWNED or target is State.SCORED:
        return f"{number}: {_progress(step, attempt)}"
    return f"{number} ended{_duration(attempt)}: {_ending(step, attempt)}"


def _taken_over(state: State) -> str:
    return "its run goes on" if state is State.TRAINING else "its predictions are scored"


def _progress(step: StepFacts, attempt: AttemptFacts | None) -> str:
    return {
        State.TRAINING: f"its folds start{(step.reason or '').removeprefix('started')}",
        State.TESTED: "its predictions are collected, next they are scored",
    }.get(step.to_state, f"scored{_duration(attempt)}")


def _ending(step: StepFacts, attempt: AttemptFacts | None) -> str:
    """Say how an attempt ended that brought no scores, and what that made of the submission."""
    target = step.to_state
    if step.dispatcher_id is None:
        return f"an organiser took it back, the submission is {target}"
    outcome = attempt.outcome if attempt else None
    words = _OUTCOMES.get(outcome or "", outcome or "it ended")
    if target in PARTICIPANT_ERRORS:
        return f"{words} {_PHASES[target]}"
    if target is State.NEW:
        return f"{words}; it waits to be tried again"
    return f"{words}; its attempts are spent" if target is State.CHECKING_ERROR else words


def _why(step: StepFacts, attempt: AttemptFacts | None) -> str:
    """Give the reason; that of a failure stands with the attempt, that of progress is plain."""
    source, target = step.from_state, step.to_state
    if source is None or (source is not target and target in OWNED | {State.SCORED}):
        return ""
    if target in PARTICIPANT_ERRORS and step.dispatcher_id and attempt:
        return (attempt.error or "").strip()
    return (step.reason or "").strip()


def _duration(attempt: AttemptFacts | None) -> str:
    if attempt is None or attempt.finished_at is None:
        return ""
    return f" after {(attempt.finished_at - attempt.claimed_at).total_seconds():.1f} s"


def _who(step: StepFacts, history: History) -> str:
    if step.from_state is None and step.reason in (None, SUBMITTED):
        return f"team {history.team}"
    if step.dispatcher_id is None:
        return "by hand"
    return _process(step.dispatcher_id, history.dispatchers.get(step.dispatcher_id))


def _process(number: int, found: Presence | None) -> str:
    """Name a dispatcher by number, host and pid, and say whether it lives."""
    if found is None:
        return f"dispatcher {number}, of which nothing is known any more"
    return f"dispatcher {number} ({found.host}, process {found.pid}; {_life(found)})"


def _life(found: Presence) -> str:
    if found.ended_at is not None:
        return found.ended_reason or "ended"
    if found.is_stale:
        return f"no sign of life for {found.silent_seconds:.0f} s"
    return "alive"


def summary(error: str) -> str:
    """Give the line of a submission's error that tells the story alone: the first.

    Parameters
    ----------
    error : str
        Of any number of lines.

    Returns
    -------
    str
        Of a traceback, as older releases kept them, its end; empty for nothing.
    """
    lines = [line for line in error.splitlines() if line.strip()]
    if not lines:
        return ""
    return headline(error) if lines[0].startswith("Traceback") else lines[0].strip()
