"""The state of a run: its folds, what became of each, and what follows for the others.

What is seen of it is what a run of one fold after another shows: the first failure, in the order of
the folds, is the run's. When a fold fails those above it are dropped, and those below it go on.
Nothing here waits, talks or starts anything: `Run` is told what happens, and says what to do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ramp_engine.base import TIMEOUT_RETURNCODE
from ramp_engine.outcome import EXIT_OURS

__all__ = ["MAX_RECLAIMS", "MAX_REFUSALS", "Ended", "Fold", "Phase", "Run", "RunEnd", "Verdict"]

#: So often a fold is begun again whose node was taken away, and that a node has no room for.
MAX_RECLAIMS, MAX_REFUSALS = 20, 5
#: How long to wait before a fold is tried again that a node had no room for, in seconds; the
#: longest time, and the first, which doubles.
REFUSAL_SECONDS, FIRST_REFUSAL_SECONDS = 30.0, 1.0


class Phase(StrEnum):
    """How a fold of a run stands."""

    WAITING = "waiting"  #: to be given to the engine
    GIVEN = "given"  #: to the engine
    TESTED = "tested"  #: done as it should
    FAILED = "failed"  #: by the participant, the kit or a bug of ours: it has a return code
    LOST = "lost"  #: with its node
    DROPPED = "dropped"  #: a fold below it has failed, or the run was ended


class Ended(StrEnum):
    """What became of a run."""

    DONE = "done"  #: by itself, well or not
    TIMEOUT = "timeout"  #: at its time limit
    LOST = "lost"  #: a node has died, or does not do: counted
    INTERRUPTED = "interrupted"  #: through nobody's fault: not counted
    CANCELED = "canceled"  #: on request


@dataclass(frozen=True)
class RunEnd:
    """The end of a run."""

    how: Ended
    returncode: int = 0  #: as of the fold step
    message: str = ""  #: why it was lost or interrupted


@dataclass(frozen=True)
class Verdict:
    """What a fold has ended with, by itself."""

    returncode: int
    result: Mapping[str, Any] | None = None  #: what the fold step said of itself

    @property
    def is_tested(self) -> bool:
        """Whether the fold is done as it should."""
        said = [fold.get("state") for fold in self.folds]
        return self.returncode == 0 and said == ["tested"]

    @property
    def folds(self) -> list[dict[str, Any]]:
        """What the step said of its folds: of one, or none."""
        folds = (self.result or {}).get("folds")
        return [fold for fold in folds if isinstance(fold, dict)] if isinstance(folds, list) else []


@dataclass
class Fold:
    """One fold of a run."""

    number: int
    phase: Phase = Phase.WAITING
    job: str | None = None  #: the one that runs it now
    not_before: float = 0.0  #: when it may be given to the engine, monotonic [s]
    n_reclaims: int = 0
    n_refusals: int = 0
    verdict: Verdict | None = None
    loss: str = ""  #: why it was lost

    @property
    def is_open(self) -> bool:
        """Whether its end is still to come."""
        return self.phase in (Phase.WAITING, Phase.GIVEN)


@dataclass
class Run:
    """A run, told what happens to its folds."""

    name: str
    numbers: Sequence[int]  #: the folds that are run, in their order
    timeout_seconds: float | None = None  #: from the start of the first fold on a node
    node: str | None = None  #: where all of it has to run
    folds: dict[int, Fold] = field(init=False)
    started_at: float | None = None  #: when the first fold was, monotonic [s]
    end: RunEnd | None = None

    def __post_init__(self) -> None:
        self.folds = {number: Fold(number) for number in self.numbers}

    def next_fold(self, now: float) -> Fold | None:
        """Give the lowest fold that may be given to the engine now."""
        for fold in self.folds.values():
            if fold.phase is Phase.WAITING and fold.not_before <= now:
                return fold
        return None

    @property
    def has_waiting(self) -> bool:
        """Whether a fold is still to be given to the engine."""
        return any(fold.phase is Phase.WAITING for fold in self.folds.values())

    def start(self, now: float) -> bool:
        """Note that a fold has begun on a node; tell whether it is the first."""
        is_first = self.started_at is None
        self.started_at = now if is_first else self.started_at
        return is_first

    def take(self, fold: Fold, verdict: Verdict) -> list[Fold]:
        """Note what a fold has ended with; give the folds that are dropped for it.

        What others have done above a fault of the kit or of ours stays.
        """
        fold.verdict, fold.job = verdict, None
        fold.phase = Phase.TESTED if verdict.is_tested else Phase.FAILED
        if verdict.is_tested:
            self._settle()
            return []
        kept = () if verdict.folds else (Phase.TESTED,)  # beside a fault that is not theirs
        dropped = [
            other for other in self._above(fold) if other.phase not in (Phase.DROPPED, *kept)
        ]
        for other in dropped:
            other.phase = Phase.DROPPED
        self._settle()
        return dropped

    def lose(self, fold: Fold, why: str) -> None:
        """Note that a fold is lost with its node: the others go on."""
        fold.phase, fold.loss, fold.job = Phase.LOST, why, None
        self._settle()

    def reclaim(self, fold: Fold, why: str) -> bool:
        """Have a fold begun again whose node was taken away; tell whether it is."""
        fold.n_reclaims += 1
        if fold.n_reclaims > MAX_RECLAIMS:
            self.stop(Ended.INTERRUPTED, f"fold {fold.number} was given back too often: {why}")
            return False
        fold.phase, fold.job = Phase.WAITING, None
        return True

    def refuse(self, fold: Fold, why: str, now: float) -> bool:
        """Have a fold begun again, later, that a node has no room for; tell whether it is."""
        fold.n_refusals += 1
        if fold.n_refusals > MAX_REFUSALS:
            self.stop(Ended.INTERRUPTED, why)
            return False
        pause = FIRST_REFUSAL_SECONDS * 2 ** (fold.n_refusals - 1)
        fold.phase, fold.job = Phase.WAITING, None
        fold.not_before = now + min(pause, REFUSAL_SECONDS)
        return True

    def stop(self, how: Ended, why: str = "") -> list[Fold]:
        """End the run before its time; give the folds that are dropped."""
        dropped = [fold for fold in self.folds.values() if fold.is_open]
        for fold in dropped:
            fold.phase = Phase.DROPPED
        if self.end is None:
            code = TIMEOUT_RETURNCODE if how is Ended.TIMEOUT else EXIT_OURS
            self.end = RunEnd(how, code, why)
        return dropped

    def result(self) -> dict[str, Any]:
        """Give what the fold step would have said of all folds, up to the first failure."""
        folds: list[dict[str, Any]] = []
        for fold in self.folds.values():
            if fold.verdict is None or fold.phase is Phase.DROPPED:
                continue
            if fold.phase is Phase.FAILED and not fold.verdict.folds:
                return dict(fold.verdict.result or {}) or {"folds": folds}
            folds += fold.verdict.folds
        return {"folds": folds}

    def _settle(self) -> None:
        """Find the end of the run, when all folds that count have ended."""
        if self.end is not None or any(fold.is_open for fold in self.folds.values()):
            return
        lost = [fold for fold in self.folds.values() if fold.phase is Phase.LOST]
        if lost:
            self.end = RunEnd(Ended.LOST, EXIT_OURS, f"fold {lost[0].number}: {lost[0].loss}")
            return
        failed = [fold for fold in self.folds.values() if fold.phase is Phase.FAILED]
        code = failed[0].verdict.returncode if failed and failed[0].verdict else 0
        self.end = RunEnd(Ended.DONE, code or int(bool(failed)))

    def _above(self, fold: Fold) -> list[Fold]:
        position = list(self.folds).index(fold.number)
        return list(self.folds.values())[position + 1 :]
