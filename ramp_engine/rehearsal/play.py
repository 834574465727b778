"""A rehearsal from the first submission to the last, and what is known afterwards."""

from __future__ import annotations

import logging
import math
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from ramp_database.bell import Bell
from ramp_database.queue import MAX_INTERRUPTIONS
from ramp_database.session import Database
from ramp_database.states import OWNED, State
from ramp_database.testing import TOY
from ramp_engine.config import EventConfig
from ramp_engine.config_sections import n_cores
from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.rehearsal import invariants, limits, plan
from ramp_engine.rehearsal.chaos import Chaos
from ramp_engine.rehearsal.crew import Crew
from ramp_engine.rehearsal.crowd import Crowd, sign_up
from ramp_engine.rehearsal.invariants import Expectation
from ramp_engine.rehearsal.machine import MachineLoad
from ramp_engine.rehearsal.meter import read_costs
from ramp_engine.rehearsal.plan import Arrival, Settings
from ramp_engine.rehearsal.records import Record, count_crashes, count_states, read_records
from ramp_engine.rehearsal.report import Measured, Report, Sample, make_report
from ramp_engine.rehearsal.stage import Stage, set_up

__all__ = ["Findings", "Halt", "Rehearsed", "rehearse"]

logger = logging.getLogger(__name__)

#: Time between two looks at dispatchers and faults, at the queue, and between two lines of
#: progress, in seconds.
TURN_SECONDS, SAMPLE_SECONDS, TELL_SECONDS = 0.1, 0.5, 5.0
#: With faults, fewer dispatchers could not take over from each other.
MIN_CHAOTIC_DISPATCHERS = 2
#: Beyond what runs and stale limits explain, nothing may end for so long, in seconds.
_PATIENCE_SECONDS = 30.0

Tell = Callable[[str], None]


class Halt:
    """Ends a rehearsal early; safe in a signal handler."""

    def __init__(self) -> None:
        self.is_set = False
        self._bell = Bell()

    def __call__(self) -> None:
        """End it: what it made is removed."""
        self.is_set = True
        self._bell.ring()

    def wait(self, seconds: float) -> None:
        """Wait for so long, or until it is to end."""
        self._bell.wait(seconds)


@dataclass(frozen=True)
class Rehearsed:
    """What is rehearsed, and how."""

    event: EventConfig  #: the real one; its section ``dispatcher`` counts
    settings: Settings
    n_dispatchers: int = 1
    is_kept: bool = False  #: whether what the rehearsal made stays


@dataclass(frozen=True)
class Findings:
    """What a rehearsal has found."""

    report: Report
    violations: Sequence[str]
    faults: Sequence[str]  #: what was done, in its order
    changed: Sequence[str]  #: limits of the event that were shortened
    n_processes: int  #: dispatchers that were started in all
    crashes: dict[str, int]  #: how many attempts crashed for which reason
    place: str  #: where it was


def rehearse(deployment: Database, what: Rehearsed, tell: Tell, halt: Halt) -> Findings | None:
    """Rehearse an event, and remove everything that this made.

    Parameters
    ----------
    deployment : Database
        Says where the database is; what it holds is neither read nor changed.
    what : Rehearsed
    tell : callable
        Gets lines about the progress.
    halt : Halt

    Returns
    -------
    Findings or None
        None when it was halted.

    Raises
    ------
    DatabaseError
        There is no place for it in the database.
    RampError
        The dispatchers end by themselves, or there is no place for files.
    """
    settings, section = what.settings, what.event.dispatcher
    changed = limits.chaotic_limits(section, settings.seconds) if settings.is_chaotic else {}
    told = limits.told_changes(section, changed)
    if settings.is_chaotic and what.n_dispatchers < MIN_CHAOTIC_DISPATCHERS:
        told.append(f"dispatchers: {MIN_CHAOTIC_DISPATCHERS} instead of {what.n_dispatchers}")
    for line in told:
        tell(f"changed for the rehearsal: {line}")
    keys = section.model_dump(mode="json", exclude_none=True) | changed
    folder = what.event.deployment_dir
    with set_up(deployment, folder, settings, keys, is_kept=what.is_kept) as stage:
        tell(f"rehearsing in {stage.place}")
        return _Play(stage, what, tell, halt).run(told)


class _Play:
    """One rehearsal on its stage."""

    def __init__(self, stage: Stage, what: Rehearsed, tell: Tell, halt: Halt) -> None:
        self._stage, self._what, self._tell, self._halt = stage, what, tell, halt
        self._settings = what.settings
        self._arrivals = plan.arrivals(what.settings)
        self._crowd = Crowd(stage.database, TOY, self._arrivals)
        least = MIN_CHAOTIC_DISPATCHERS if what.settings.is_chaotic else 1
        self._n_dispatchers = max(what.n_dispatchers, least)
        self._crew = Crew(stage, self._n_dispatchers)
        self._chaos = Chaos(stage, self._crew, plan.faults(what.settings), tell)
        self._samples: list[Sample] = []
        self._machine = MachineLoad()
        self._began_at = self._progressed_at = time.monotonic()
        self._told_at = self._sampled_at = -math.inf

    def run(self, changed: Sequence[str]) -> Findings | None:
        """Play it, and give what it has shown; None when it was halted."""
        sign_up(self._stage.database, TOY, self._arrivals)
        with ExitStack() as stack:
            stack.enter_context(self._crew)
            stack.callback(self._chaos.stop)
            stack.callback(self._crowd.leave)
            self._began_at = self._progressed_at = time.monotonic()
            self._crowd.start()
            while not (self._halt.is_set or self._is_over() or self._is_stuck()):
                self._turn()
                self._halt.wait(TURN_SECONDS)
        if self._halt.is_set:
            return None
        if self._crowd.error is not None:
            raise self._crowd.error
        records, found = self._judge()
        return Findings(
            report=make_report(self._measured(records)),
            violations=[*found, *self._left_running],
            faults=tuple(self._chaos.told),
            changed=tuple(changed),
            n_processes=self._crew.n_started,
            crashes=count_crashes(records),
            place=self._stage.place,
        )

    def _turn(self) -> None:
        now = time.monotonic()
        is_going_well = False
        if now - self._sampled_at > SAMPLE_SECONDS:
            self._sampled_at = now
            is_going_well = self._sample(now)
        self._crew.tend(is_going_well=is_going_well)
        self._chaos.turn(self._n_ended / self._settings.n_submissions)
        if now - self._told_at > TELL_SECONDS:
            self._told_at = now
            self._tell_progress()

    def _sample(self, now: float) -> bool:
        """Look at the queue; tell whether something has ended since the last look."""
        try:
            with self._stage.database.session(read_only=True) as session:
                counts = count_states(session)
        except DatabaseUnavailableError:
            return False
        n_before = self._n_ended
        self._samples.append(
            Sample(
                at_seconds=now - self._began_at,
                n_waiting=counts.get(State.NEW, 0),
                n_running=sum(counts.get(state, 0) for state in OWNED - {State.TESTED}),
                n_scoring=counts.get(State.TESTED, 0),
                n_ended=sum(n for state, n in counts.items() if state.is_final),
                machine_share=self._machine.share(),
            )
        )
        if self._n_ended > n_before or not self._crowd.is_done or self._chaos.is_busy:
            self._progressed_at = now
        return self._n_ended > n_before

    @property
    def _n_ended(self) -> int:
        return self._samples[-1].n_ended if self._samples else 0

    def _is_over(self) -> bool:
        if self._crowd.error is not None:
            return True
        is_all_in = self._crowd.is_done and self._n_ended >= self._crowd.n_submitted
        return is_all_in and self._chaos.is_over

    def _is_stuck(self) -> bool:
        """Tell whether nothing has ended for longer than anything explains."""
        section = self._stage.event.dispatcher
        longest = plan.LONGEST * self._settings.seconds
        if self._settings.is_chaotic:
            longest = max(longest, section.timeout)
        patience = longest + 3 * section.stale_after_seconds + _PATIENCE_SECONDS
        return time.monotonic() - self._progressed_at > patience

    def _tell_progress(self) -> None:
        last = self._samples[-1] if self._samples else Sample(0, 0, 0, 0, 0, 0)
        self._tell(
            f"{last.at_seconds:5.0f} s: {self._crowd.n_submitted} of "
            f"{self._settings.n_submissions} submitted, {last.n_waiting} waiting, "
            f"{last.n_running} running, {last.n_scoring} being scored, {last.n_ended} ended"
        )

    def _judge(self) -> tuple[list[Record], list[str]]:
        """Give what is recorded, and what of it does not hold."""
        try:
            return self._try_to_judge()
        except DatabaseUnavailableError:  # it met a connection that was broken on purpose
            return self._try_to_judge()

    def _try_to_judge(self) -> tuple[list[Record], list[str]]:
        with self._stage.database.session(read_only=True) as session:
            records = read_records(session, TOY)
            event, expected = self._stage.event, self._expectation
            return records, invariants.find_violations(session, event, records, expected)

    @property
    def _left_running(self) -> list[str]:
        return [
            *invariants.left_running(self._stage.directory.name),
            *(f"process {pid} had to be killed at the end" for pid in self._crew.stubborn),
        ]

    @property
    def _expectation(self) -> Expectation:
        taken = self._arrivals[: self._crowd.n_submitted]
        return Expectation(
            states={
                arrival.name: plan.expected_states(plan.deed_of(self._settings, arrival.number))
                for arrival in taken
            },
            max_attempts=self._stage.event.dispatcher.max_attempts,
            max_interruptions=MAX_INTERRUPTIONS,
        )

    def _measured(self, records: Sequence[Record]) -> Measured:
        by_name = {arrival.name: arrival for arrival in self._arrivals}
        records = [record for record in records if record.steps and record.name in by_name]
        return Measured(
            n_submissions=len(records),
            n_attempts=sum(record.attempt for record in records),
            wall_seconds=_wall_seconds(records),
            to_start=[value for record in records if (value := _to_start(record)) is not None],
            to_score=[value for record in records if (value := _to_score(record)) is not None],
            run_seconds=self._run_seconds([by_name[record.name] for record in records]),
            slot_seconds=_slot_seconds(records),
            arrival_seconds=self._settings.arrival_seconds,
            n_workers=self._stage.event.dispatcher.n_workers,
            n_dispatchers=self._n_dispatchers,
            n_cores=n_cores(),
            samples=self._samples,
            costs=read_costs(self._stage.reports_dir),
        )

    def _run_seconds(self, arrivals: Sequence[Arrival]) -> float:
        """Give the mean of what the runs take by themselves."""
        seconds = [
            plan.behaviour(self._settings, arrival.number, 1)["seconds"] for arrival in arrivals
        ]
        return statistics.fmean(seconds) if seconds else 0.0


def _to_start(record: Record) -> float | None:
    starts = [one.started_at for one in record.attempts if one.started_at is not None]
    return (min(starts) - record.steps[0].at).total_seconds() if starts else None


def _to_score(record: Record) -> float | None:
    ends = [step.at for step in record.steps if step.to_state is State.SCORED]
    return (ends[-1] - record.steps[0].at).total_seconds() if ends else None


def _slot_seconds(records: Sequence[Record]) -> float:
    """Give the mean time for which attempts held a slot whose submission was scored by them."""
    seconds = [value for record in records for value in record.slot_seconds]
    return statistics.fmean(seconds) if seconds else 0.0


def _wall_seconds(records: Sequence[Record]) -> float:
    times = [step.at for record in records for step in (record.steps[0], record.steps[-1])]
    return (max(times) - min(times)).total_seconds() if times else 0.0
