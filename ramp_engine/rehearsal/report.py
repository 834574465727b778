"""What a rehearsal has shown: figures, the bottleneck, a recommendation. Pure functions."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from ramp_engine.rehearsal.meter import Costs

__all__ = ["Bottleneck", "Measured", "Recommendation", "Report", "Sample", "make_report"]

#: Above this share, something is as busy as it can be.
SATURATED = 0.85
#: Below this share, something explains no wait.
NOTABLE = 0.5
#: The share of its slots, or of what is narrowest, that a recommendation uses.
TARGET = 0.8
#: Submissions waited for a slot during less than that share of the time: nothing was narrow.
CALM = 0.1

#: The parts of the engine, in the order in which they are suspected.
_PARTS = ("the dispatcher's CPU", "the machine's CPU", "the database")


@dataclass(frozen=True)
class Sample:
    """How things stood at a moment."""

    at_seconds: float  #: since the beginning
    n_waiting: int  #: submissions that are not claimed
    n_running: int  #: submissions that hold a slot
    n_scoring: int  #: submissions that are claimed and need none any more
    n_ended: int
    machine_share: float  #: of this machine's CPU that was busy since the last sample, 0 to 1


@dataclass(frozen=True)
class Measured:
    """What was seen of a rehearsal."""

    n_submissions: int
    n_attempts: int
    wall_seconds: float  #: from the first submission to the last end
    to_start: Sequence[float]  #: seconds from each submission to its first start
    to_score: Sequence[float]  #: seconds from each submission to its score, of those that have one
    run_seconds: float  #: that a run takes by itself, mean
    slot_seconds: float  #: that a run held a slot, from its claim to its predictions, mean
    arrival_seconds: float  #: over which submissions arrived
    n_workers: int  #: of one dispatcher
    n_dispatchers: int
    n_cores: int
    samples: Sequence[Sample]
    costs: Sequence[Costs]  #: of each dispatcher process


@dataclass(frozen=True)
class Bottleneck:
    """What holds the event up."""

    name: str  #: ``none`` when submissions were started as they came
    evidence: str


@dataclass(frozen=True)
class Recommendation:
    """How many submissions a dispatcher should run at once."""

    n_workers: int
    reason: str


@dataclass(frozen=True)
class Report:
    """The figures of a rehearsal; times in seconds."""

    n_submissions: int
    n_attempts: int
    wall_seconds: float
    to_start_p50: float | None
    to_start_p95: float | None
    to_score_p50: float | None
    to_score_p95: float | None
    submissions_an_hour: float
    statements_a_submission: float  #: of the dispatchers
    cpu_seconds_a_submission: float  #: of the dispatchers
    database_seconds_a_submission: float  #: that the dispatchers' threads waited for the database
    engine_seconds_a_submission: float  #: that a slot was held beyond the run itself
    bottleneck: Bottleneck
    recommendation: Recommendation


def make_report(measured: Measured) -> Report:
    """Draw the conclusions from what was measured."""
    totals = _totals(measured)
    n = max(measured.n_submissions, 1)
    start, score = _quantiles(measured.to_start), _quantiles(measured.to_score)
    return Report(
        n_submissions=measured.n_submissions,
        n_attempts=measured.n_attempts,
        wall_seconds=measured.wall_seconds,
        to_start_p50=start[0],
        to_start_p95=start[1],
        to_score_p50=score[0],
        to_score_p95=score[1],
        submissions_an_hour=3600 * n / max(measured.wall_seconds, 1e-9),
        statements_a_submission=totals.n_statements / n,
        cpu_seconds_a_submission=totals.cpu_seconds / n,
        database_seconds_a_submission=totals.database_seconds / n,
        engine_seconds_a_submission=max(0.0, measured.slot_seconds - measured.run_seconds),
        bottleneck=find_bottleneck(measured),
        recommendation=recommend(measured),
    )


def find_bottleneck(measured: Measured) -> Bottleneck:
    """Tell what was narrowest while submissions waited, and what says so."""
    busy = _while_waiting(measured.samples)
    waited_share = busy.seconds / max(measured.wall_seconds, 1e-9)
    if waited_share < CALM:
        return Bottleneck(
            "none", f"submissions waited for a slot during {waited_share:.0%} of the time only"
        )
    loads = _loads(measured, busy)
    for name in _PARTS:
        share, evidence = loads[name]
        if share >= SATURATED:
            return Bottleneck(name, evidence)
    if measured.run_seconds >= measured.slot_seconds / 2:
        return Bottleneck("workers", loads["workers"][1])
    overhead = measured.slot_seconds - measured.run_seconds
    held = f"a slot is held for {overhead:.3f} s beyond the {measured.run_seconds:.3f} s of a run"
    name = max(_PARTS, key=lambda name: loads[name][0])
    if loads[name][0] >= NOTABLE:
        return Bottleneck(name, f"{held}; {loads[name][1]}")
    return Bottleneck(
        "the rest of the engine",
        f"{held}, which neither CPU nor database explains: the disk, or the faults of a rehearsal",
    )


def recommend(measured: Measured) -> Recommendation:
    """Give the number of workers of a dispatcher that keeps up with the arrivals, with some room.

    More than the narrowest part can feed bring nothing.
    """
    rate = measured.n_submissions / max(measured.arrival_seconds, 1e-9)
    n_busy = rate * measured.slot_seconds
    n_wanted = math.ceil(n_busy / TARGET / measured.n_dispatchers)
    name, ceiling = _ceiling(measured)
    n_useful = max(1, math.floor(ceiling * measured.slot_seconds / measured.n_dispatchers))
    reason = (
        f"{rate:.3g} submissions a second, each holding a slot for {measured.slot_seconds:.3g} s, "
        f"keep {n_busy:.1f} slots busy"
    )
    if n_wanted <= n_useful:
        return Recommendation(max(1, n_wanted), f"{reason}; a fifth is kept free for bursts")
    return Recommendation(
        n_useful,
        f"{reason}, but {name} lets only {ceiling:.3g} a second pass, and more workers than this "
        "would not speed that up: the queue grows while they arrive so fast",
    )


@dataclass(frozen=True)
class _Busy:
    seconds: float
    n_ended: int
    n_running: float  #: mean
    machine_share: float  #: mean

    @property
    def rate(self) -> float:
        """Ends a second."""
        return self.n_ended / self.seconds if self.seconds else 0.0


def _while_waiting(samples: Sequence[Sample]) -> _Busy:
    """Add up what lies between samples at both of which submissions waited."""
    pairs = [
        (before, after)
        for before, after in itertools.pairwise(samples)
        if before.n_waiting and after.n_waiting
    ]
    seconds = sum(after.at_seconds - before.at_seconds for before, after in pairs)
    if not seconds:
        return _Busy(0.0, 0, 0.0, 0.0)
    return _Busy(
        seconds,
        sum(after.n_ended - before.n_ended for before, after in pairs),
        statistics.fmean(after.n_running for _, after in pairs),
        statistics.fmean(after.machine_share for _, after in pairs),
    )


def _loads(measured: Measured, busy: _Busy) -> dict[str, tuple[float, str]]:
    """Give how busy each part was while submissions waited, with the words for it."""
    totals, n = _totals(measured), max(measured.n_submissions, 1)
    cpu = totals.cpu_seconds / n * busy.rate / measured.n_dispatchers
    lock = totals.lock_seconds / n * busy.rate
    waits = totals.database_seconds / n
    slots = measured.n_workers * measured.n_dispatchers
    slot_seconds = max(measured.slot_seconds, 1e-9)
    own = min(1.0, measured.run_seconds / slot_seconds)
    locked = f"its lock for writers was held {lock:.0%} of the time, " if lock else ""
    told = {
        "the dispatcher's CPU": f"a dispatcher process used {cpu:.0%} of the one core that it can "
        f"use ({1000 * totals.cpu_seconds / n:.1f} ms a submission)",
        "the machine's CPU": f"{busy.machine_share:.0%} of {measured.n_cores} cores were busy, "
        "with everything that runs on this machine",
        "the database": f"{locked}the dispatchers waited {1000 * waits:.1f} ms for it with each "
        "submission",
        "workers": f"{busy.n_running:.1f} of {slots} slots were taken, and {own:.0%} of the time "
        "in a slot was the run itself",
    }
    shares = {
        "the dispatcher's CPU": cpu,
        "the machine's CPU": busy.machine_share,
        "the database": max(lock, waits / slot_seconds),
        "workers": busy.n_running / slots,
    }
    return {
        name: (share, f"while submissions waited, {told[name]}") for name, share in shares.items()
    }


def _ceiling(measured: Measured) -> tuple[str, float]:
    """Give the part of the engine that is narrowest, and the submissions a second it lets pass."""
    totals, n = _totals(measured), max(measured.n_submissions, 1)
    ceilings = {
        "the dispatchers' CPU": min(measured.n_dispatchers, measured.n_cores)
        / max(totals.cpu_seconds / n, 1e-9),
        "SQLite's lock": 1 / max(totals.lock_seconds / n, 1e-9),
    }
    name = min(ceilings, key=lambda name: ceilings[name])
    return name, TARGET * ceilings[name]


def _totals(measured: Measured) -> Costs:
    names = Costs.__dataclass_fields__
    return Costs(**{name: sum(getattr(one, name) for one in measured.costs) for name in names})


def _quantiles(seconds: Sequence[float]) -> tuple[float | None, float | None]:
    """Give median and 95th percentile; None where there are no values."""
    if len(seconds) < 2:
        only = seconds[0] if seconds else None
        return only, only
    cuts = statistics.quantiles(seconds, n=20, method="inclusive")
    return cuts[9], cuts[18]
