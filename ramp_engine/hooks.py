"""Hooks: code of an organiser's that is told how submissions fare: a mail, a message, an export.

A plugin subclasses `Hook` and implements what it wants to be told::

    class Mail(Hook):
        def on_failure(self, failure): ...

An event names its hooks in the section ``hooks`` of its ``config.yml``. They run in a process of
their own beside the dispatcher, one call after another, each for ``timeout_seconds`` at most. A
hook that raises an error, hangs, ends its process or takes too much memory is told in the
dispatcher's log, and changes nothing for any submission.

Each call is made once at most. It waits in the dispatcher's memory: when the dispatcher dies, or
when more calls wait than there is room for, it is not made.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel

from ramp_engine.outcome import Outcome

__all__ = ["CALLS", "CallName", "Failure", "Hook", "Launch", "Scores", "Told"]

CallName = Literal["before_launch", "after_scoring", "on_failure"]

#: The methods of a `Hook` by which it is told something.
CALLS: tuple[CallName, ...] = get_args(CallName)


@dataclass(frozen=True, kw_only=True)
class Told:
    """What every call is told."""

    event: str  #: name of the event
    problem: str  #: name of its problem
    submission_id: int  #: by which `ramp explain` and `ramp logs` know it
    team: str
    name: str  #: what the team calls the submission
    attempt: int  #: from 1
    at: datetime  #: when it happened, with its zone
    logs_dir: Path  #: folder of the submission's logs, which may not be there yet

    def to_json(self) -> dict[str, Any]:
        """Give all of it as JSON knows it: times and paths as text."""
        return {**vars(self), "at": self.at.isoformat(), "logs_dir": str(self.logs_dir)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        at, logs_dir = datetime.fromisoformat(value["at"]), Path(value["logs_dir"])
        return cls(**{**value, "at": at, "logs_dir": logs_dir})


@dataclass(frozen=True, kw_only=True)
class Launch(Told):
    """An attempt begins."""

    worker_type: str


@dataclass(frozen=True, kw_only=True)
class Scores(Told):
    """A submission has its scores."""

    #: By score type, the official one first: as on the public leaderboard, None for what is no
    #: finite number. Those of the test data are not told.
    scores: dict[str, float | None]
    seconds: float  #: from the beginning of the attempt


@dataclass(frozen=True, kw_only=True)
class Failure(Told):
    """An attempt failed."""

    outcome: Outcome  #: ``crashed``: our side; any other: the participant's
    reason: str  #: what the team reads
    is_final: bool  #: False: there will be another attempt
    seconds: float  #: from the beginning of the attempt

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_json` gave."""
        return super().from_json({**value, "outcome": Outcome(value["outcome"])})


class Hook:
    """Be told how submissions fare.

    Parameters
    ----------
    config : mapping
        The hook's keys of the section ``hooks``, without ``hook_type``, ``calls`` and
        ``timeout_seconds``. With a `config_model` its defaults are filled in.

    Notes
    -----
    One instance lives as long as the hook process, which begins with the first call and anew after
    a call that hung. The current directory is the event's folder. What is printed is found in the
    dispatcher's log.
    """

    #: A model of the hook's own keys; None: they pass as they are.
    config_model: ClassVar[type[BaseModel] | None] = None

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config: dict[str, Any] = dict(config)

    def before_launch(self, launch: Launch) -> None:
        """Be told that an attempt begins, which waits for nobody: it cannot be refused here.

        A run that is taken over from a dead dispatcher, and one that is only scored, do not begin.
        """

    def after_scoring(self, scores: Scores) -> None:
        """Be told the scores of a submission, when they are in the database."""

    def on_failure(self, failure: Failure) -> None:
        """Be told that an attempt failed, when that is in the database.

        Not of one that was canceled, or given back through nobody's fault.
        """

    @classmethod
    def calls(cls) -> frozenset[CallName]:
        """Name the calls that the class implements."""
        return frozenset(name for name in CALLS if getattr(cls, name) is not getattr(Hook, name))
