"""The states of a submission and the outcomes of an attempt, from the enumerations."""

from __future__ import annotations

from enum import StrEnum

from ramp_database.states import FINAL, OWNED, TRANSITIONS, State
from ramp_engine.outcome import Outcome
from wording import comments, sentence, table

__all__ = ["outcomes", "states", "transitions"]


def states() -> str:
    """Say what each state means, and whose it is to move on."""
    rows = [(f"`{state}`", meaning, _mover(state)) for state, meaning in _members(State)]
    return table(("state", "meaning", "what moves it on"), rows)


def transitions() -> str:
    """List from each state the states that may follow."""
    rows = [
        (f"`{state}`", ", ".join(f"`{target}`" for target in State if target in targets))
        for state, targets in TRANSITIONS.items()
    ]
    return table(("from", "to"), rows)


def outcomes() -> str:
    """Say what each outcome of an attempt means."""
    rows = [(f"`{outcome}`", meaning) for outcome, meaning in _members(Outcome)]
    return table(("outcome", "meaning"), rows)


def _members(enumeration: type[StrEnum]) -> list[tuple[StrEnum, str]]:
    told = comments(enumeration.__module__, enumeration.__name__)
    return [(member, sentence(told[member.name])) for member in enumeration]


def _mover(state: StrEnum) -> str:
    if state in OWNED:
        return "the dispatcher that owns it"
    return "nobody but an organiser" if state in FINAL else "any dispatcher of the event"
