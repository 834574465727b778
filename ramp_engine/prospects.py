"""What happens next with a submission, and what its team or an organiser can do, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from ramp_database.history import History
from ramp_database.presence import Presence
from ramp_database.states import OWNED, PARTICIPANT_ERRORS, State

__all__ = ["launch_command", "of", "partial_scores"]

_Moment = Callable[[datetime], str]
_Process = Callable[[int, Presence | None], str]

#: What the owner does in each state.
_WORK = {
    State.SENT_TO_TRAINING: "makes its worker ready",
    State.TRAINING: "has its folds run",
    State.TESTED: "scores its predictions",
}


def launch_command(event_config: str) -> str:
    """Give the command that starts a dispatcher for an event."""
    return f"ramp launch dispatcher --event-config {event_config}"


def partial_scores(partial: Mapping[str, Any]) -> str:
    """Tell the scores of folds that are done while others run.

    Parameters
    ----------
    partial : mapping
        From `ramp_database.partial.read`.
    """
    n_done, mean = len(partial["folds"]), partial["mean"]
    score = "-" if mean is None else f"{mean:.{partial['precision']}f}"
    return f"{n_done} of {partial['n_folds']} folds: {partial['score_type']} {score} (partial)"


def of(history: History, moment: _Moment, process: _Process) -> tuple[str, ...]:
    """Say what happens next, a sentence each.

    Parameters
    ----------
    history : History
    moment : callable
        Writes a time as people read it.
    process : callable
        Names a dispatcher by its number, with what is known of it.
    """
    if history.state is State.NEW:
        return tuple(_waiting(history, moment))
    if history.state in OWNED:
        return tuple(_owned(history, moment, process))
    return tuple(_final(history))


def _waiting(history: History, moment: _Moment) -> list[str]:
    said = []
    not_before = history.not_before
    if not_before is not None and not_before > history.read_at:
        seconds = (not_before - history.read_at).total_seconds()
        said.append(
            f"{_why_delayed(history)} it is not claimed before {moment(not_before)}, "
            f"in {seconds:.0f} s."
        )
    elif history.n_ahead:
        others = "1 other is" if history.n_ahead == 1 else f"{history.n_ahead} others are"
        said.append(f"It waits to be claimed; {others} claimed before it.")
    else:
        said.append("It waits to be claimed, and is the next.")
    return [*said, _takers(history)]


def _why_delayed(history: History) -> str:
    last = history.attempts[-1] if history.attempts else None
    if last is not None and last.outcome == "interrupted":
        return "Its last attempt was interrupted, which is not counted:"
    crashes = "a crash" if history.n_crashes == 1 else f"{history.n_crashes} crashes"
    return f"After {crashes} of the platform"


def _takers(history: History) -> str:
    live = [str(one.id) for one in history.live_dispatchers]
    if not live:
        command = launch_command(history.config_path)
        return f"No dispatcher of {history.event} runs. An organiser starts one: {command}"
    if len(live) == 1:
        return f"Dispatcher {live[0]} takes it when it has a free slot."
    return f"Dispatchers {', '.join(live)} run: the first with a free slot takes it."


def _owned(history: History, moment: _Moment, process: _Process) -> list[str]:
    number = history.dispatcher_id or 0
    owner = history.dispatchers.get(number)
    named = process(number, owner)
    said = []
    if history.cancel_requested_at is not None:
        reason = f": {history.cancel_reason}" if history.cancel_reason else ""
        said.append(f"It was asked to be canceled at {moment(history.cancel_requested_at)}{reason}")
    if owner is None or not owner.is_live:
        return [*said, f"It belongs to {named}.", _rescuers(history)]
    if said and history.state is not State.TESTED:
        return [*said, f"Its owner ends the run within a second or so: {named}."]
    said.append(f"Its owner {_WORK[history.state]}: {named}.")
    return said if history.partial is None else [*said, partial_scores(history.partial)]


def _rescuers(history: History) -> str:
    live = [str(one.id) for one in history.live_dispatchers]
    if live:
        return f"Dispatcher {live[0]} lives and takes it back."
    return (
        f"A dispatcher of {history.event} will take it back, but none runs. An organiser starts "
        f"one: {launch_command(history.config_path)}"
    )


def _final(history: History) -> list[str]:
    number = history.submission_id
    again = f"An organiser can have it evaluated again: ramp retry {number}"
    if history.state is State.SCORED:
        return [
            f"It is on the leaderboard: ramp leaderboard --event {history.event}",
            f"Nothing more happens. {again}",
        ]
    if history.state in PARTICIPANT_ERRORS:
        return [
            f"What it printed: ramp logs {number}",
            f"Its team can mend the code and submit it under another name. {again}",
        ]
    if history.state is State.CHECKING_ERROR:
        return [
            "The platform failed, not the submission's code; its team need not do anything.",
            f"An organiser mends what ramp doctor finds, then: ramp retry {number}",
        ]
    return [f"Its team can submit it under another name. {again}"]
