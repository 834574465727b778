"""The jobs that the engine was given and has not told the end of."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from ramp_engine.remote.gateway.held_run import HeldRun
from ramp_engine.remote.gateway.runs import Fold, Phase

__all__ = ["Given", "Jobs"]


@dataclass
class Given:
    """One job: one try at a fold."""

    job: str
    held: HeldRun
    fold: Fold
    node: str | None = None  #: known when it has begun
    fault: str | None = None  #: why it must not run where it is
    is_called_off: bool = False  #: whether nothing of it is wanted any more
    is_ending: bool = False  #: whether its node was told so after it had begun
    leaving: str = ""  #: why its node was told to save it


class Jobs:
    """All jobs.

    Parameters
    ----------
    prefix : str
        Of their names, unique for ever.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._given: dict[str, Given] = {}
        self._of: dict[str, dict[str, Given]] = {}

    def __len__(self) -> int:
        return len(self._given)

    def make(self, held: HeldRun, fold: Fold) -> Given:
        """Make the job of a fold."""
        job = f"{self._prefix}-{next(self._numbers)}-{fold.number}"
        fold.phase, fold.job = Phase.GIVEN, job
        given = self._given[job] = Given(job, held, fold)
        self._of.setdefault(held.name, {})[job] = given
        return given

    def find(self, job: str) -> Given | None:
        """Give a job; None when it has ended."""
        return self._given.get(job)

    def take(self, job: str) -> Given | None:
        """Give a job that has ended, and forget it; None when that was told before."""
        given = self._given.pop(job, None)
        if given is not None:
            jobs = self._of[given.held.name]
            del jobs[job]
            if not jobs:
                del self._of[given.held.name]
        return given

    def of(self, held: HeldRun) -> list[Given]:
        """List the jobs of a run."""
        return list(self._of.get(held.name, {}).values())

    def on(self, node: str) -> list[Given]:
        """List the jobs that have begun on a node."""
        return [given for given in self._given.values() if given.node == node]

    def nodes(self) -> set[str] | None:
        """List the nodes where there are jobs; None when some may have begun anywhere."""
        nodes = {given.node for given in self._given.values()}
        return None if None in nodes else {node for node in nodes if node is not None}
