"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Finding", "Level", "ok", "problem", "warning"]


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"  #: as it should be
    WARNING = "warning"  #: submissions are evaluated; somebody should look at it all the same
    PROBLEM = "problem"  #: submissions are not, or not rightly, evaluated


@dataclass(frozen=True)
class Finding:
    """One line of a diagnosis."""

    level: Level
    message: str  #: what was found
    remedy: str = ""  #: the command that mends it, or what to do
    check: str = ""  #: name of the check
    event: str | None = None  #: name of the event; None when it is about the deployment


def ok(message: str) -> Finding:
    """Find that something is as it should be."""
    return Finding(Level.OK, message)


def warning(message: str, remedy: str) -> Finding:
    """Find something that somebody should look at."""
    return Finding(Level.WARNING, message, remedy)


def problem(message: str, remedy: str) -> Finding:
    """Find something that keeps submissions from being evaluated."""
    return Finding(Level.PROBLEM, message, remedy)
