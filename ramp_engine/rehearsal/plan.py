"""What happens in a rehearsal: who submits what when, how each run goes, which fault comes when.

Everything follows from `Settings`, so that a rehearsal can be repeated; nothing here does I/O. What
belongs to one submission depends on the seed and on its number only: a process that knows those two
knows how its run goes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ramp_database.states import PARTICIPANT_ERRORS, State
from ramp_engine.testing import Scenario

__all__ = [
    "Arrival",
    "Deed",
    "Fault",
    "FaultKind",
    "Settings",
    "arrivals",
    "behaviour",
    "deed_of",
    "expected_states",
    "faults",
    "number_in",
    "source_of",
]

#: The share of the submissions that arrive at once, at the beginning.
BURST_SHARE = 0.25
#: The seconds of a run lie between these multiples of those asked for, which are their mean.
SHORTEST, LONGEST = 0.5, 1.5
#: How long a call of a worker hangs that comes back after all, in seconds.
SLOW_CALL_SECONDS = 2.0
#: The faults come while the share of submissions that have ended lies between these two.
FIRST_FAULT_AT, LAST_FAULT_AT = 0.05, 0.8

_SOURCE = "# submission {} of a rehearsal\n"


@dataclass(frozen=True)
class Settings:
    """All that a rehearsal depends on."""

    n_teams: int
    n_submissions: int
    seconds: float  #: that a run takes on average
    arrival_seconds: float  #: over which the submissions arrive that are not in the burst
    seed: int = 0
    is_chaotic: bool = False


@dataclass(frozen=True)
class Arrival:
    """A submission that is to be made."""

    number: int  #: from 1, in the order of the arrivals
    at_seconds: float  #: since the beginning
    team: str
    name: str


class Deed(StrEnum):
    """How the runs of a submission go."""

    GOOD = "good"
    FAILING = "failing"  #: its code raises an error
    SILENT = "silent"  #: ends as if all were well, without predictions
    NOISY = "noisy"  #: good, with a log that is no text
    CRASHING = "crashing"  #: the worker raises an error the first time
    DOOMED = "doomed"  #: the worker raises an error each time
    INTERRUPTED = "interrupted"  #: the machine is taken away the first time
    HANGING = "hanging"  #: its code never ends
    SLOW_CALL = "slow_call"  #: a call of the worker hangs for a while the first time
    HUNG_CALL = "hung_call"  #: a call of the worker never returns the first time


#: How many of a hundred submissions do what, without and with chaos; the others are good.
_SHARES = {
    False: {Deed.FAILING: 8, Deed.SILENT: 2},
    True: {
        Deed.FAILING: 8,
        Deed.SILENT: 3,
        Deed.NOISY: 4,
        Deed.CRASHING: 7,
        Deed.DOOMED: 2,
        Deed.INTERRUPTED: 5,
        Deed.HANGING: 2,
        Deed.SLOW_CALL: 2,
        Deed.HUNG_CALL: 3,
    },
}
_SCENARIOS = {
    Deed.FAILING: Scenario.FAILING,
    Deed.SILENT: Scenario.EXITING,
    Deed.NOISY: Scenario.BAD_BYTES,
    Deed.HANGING: Scenario.HANGING,
}
_CALLS = ("setup", "launch_submission", "status", "collect_results")
_ERRORS = ("setup", "lost", "collect", "foreign")


class FaultKind(StrEnum):
    """What chaos does."""

    KILL = "kill"  #: SIGKILL to a dispatcher
    PAUSE = "pause"  #: SIGSTOP to a dispatcher until it is taken for dead, then SIGCONT
    CUT = "cut"  #: the connections to the database break; SQLite: somebody keeps the lock
    REFUSE = "refuse"  #: statements of the dispatchers fail for a while
    DISK = "disk"  #: the dispatchers' disk is full for a while


#: How often each fault comes; those of a kind that takes long are few.
_N_FAULTS = {
    FaultKind.KILL: 4,
    FaultKind.PAUSE: 2,
    FaultKind.CUT: 3,
    FaultKind.REFUSE: 2,
    FaultKind.DISK: 2,
}


@dataclass(frozen=True)
class Fault:
    """A fault that is to come."""

    kind: FaultKind
    at_share: float  #: of the submissions that have ended
    victim: int  #: which dispatcher, as an index modulo the number of those that run


def arrivals(settings: Settings) -> list[Arrival]:
    """Plan who submits when: a burst at the beginning, the others evenly, some teams more.

    Returns
    -------
    list of Arrival
        In the order of their times.
    """
    draw = _draw(settings, "arrivals")
    teams = [f"team {number:03d}" for number in range(1, settings.n_teams + 1)]
    eagerness = [1 / rank**0.5 for rank in range(1, settings.n_teams + 1)]
    draw.shuffle(teams)
    n_burst = round(BURST_SHARE * settings.n_submissions)
    n_steady = settings.n_submissions - n_burst
    times = [0.0] * n_burst
    times += sorted(draw.uniform(0, settings.arrival_seconds) for _ in range(n_steady))
    chosen = draw.choices(teams, eagerness, k=settings.n_submissions)
    return [
        Arrival(number, at_seconds, team, f"rehearsal_{number:06d}")
        for number, (at_seconds, team) in enumerate(zip(times, chosen, strict=True), start=1)
    ]


def source_of(number: int) -> bytes:
    """Give the code that submission `number` of the plan consists of."""
    return _SOURCE.format(number).encode()


def number_in(source: bytes) -> int:
    """Read the number of a submission from its code; ValueError when it is not of a rehearsal."""
    head, tail = _SOURCE.split("{}")
    text = source.decode()
    if not (text.startswith(head) and text.endswith(tail)):
        raise ValueError(f"no submission of a rehearsal: {text[:80]!r}")
    return int(text[len(head) : -len(tail)])


def deed_of(settings: Settings, number: int) -> Deed:
    """Tell what submission `number` does."""
    shares = _SHARES[settings.is_chaotic]
    ticket = _draw(settings, f"deed {number}").uniform(0, 100)
    for deed, share in shares.items():
        ticket -= share
        if ticket < 0:
            return deed
    return Deed.GOOD


def behaviour(settings: Settings, number: int, n_try: int) -> dict[str, Any]:
    """Tell how a run of a submission goes.

    Parameters
    ----------
    settings : Settings
    number : int
        Of the submission in the plan.
    n_try : int
        Which of its runs, from 1.

    Returns
    -------
    dict
        Keys of `ramp_engine.testing.FakeWorkerConfig`.
    """
    draw, deed = _draw(settings, f"run {number}"), deed_of(settings, number)
    seconds = settings.seconds * draw.uniform(SHORTEST, LONGEST)
    step, error = draw.choice(_CALLS), draw.choice(_ERRORS)
    plan: dict[str, Any] = {"seconds": round(seconds, 4)}
    is_first = n_try == 1
    if deed is Deed.DOOMED or (deed is Deed.CRASHING and is_first):
        plan |= {"fail_in": step, "error": error}
    elif deed in (Deed.SLOW_CALL, Deed.HUNG_CALL) and is_first:
        plan |= {"hang_in": step}
    elif deed is Deed.INTERRUPTED and is_first:
        plan |= {"scenario": Scenario.INTERRUPTED}
    elif deed in _SCENARIOS:
        plan |= {"scenario": _SCENARIOS[deed]}
    return plan


def expected_states(deed: Deed) -> frozenset[State]:
    """Give the states in which a submission may end when nothing else goes wrong."""
    if deed is Deed.DOOMED:
        return frozenset({State.CHECKING_ERROR})
    if deed in (Deed.FAILING, Deed.SILENT, Deed.HANGING):
        return PARTICIPANT_ERRORS
    return frozenset({State.SCORED})


def faults(settings: Settings) -> list[Fault]:
    """Plan the faults, in their order; none without chaos."""
    if not settings.is_chaotic:
        return []
    draw = _draw(settings, "faults")
    kinds = [kind for kind, n in _N_FAULTS.items() for _ in range(n)]
    draw.shuffle(kinds)
    width = (LAST_FAULT_AT - FIRST_FAULT_AT) / len(kinds)
    return [
        Fault(kind, FIRST_FAULT_AT + (place + draw.random()) * width, draw.randrange(1000))
        for place, kind in enumerate(kinds)
    ]


def _draw(settings: Settings, purpose: str) -> random.Random:
    return random.Random(f"{settings.seed} {purpose}")  # noqa: S311  a plan is no secret
