"""What must hold at the end of a rehearsal, beyond what must hold of every event.

`ramp_engine.testing.invariants` holds an event against the promises that are made for all. Only a
rehearsal knows what was submitted and how each should end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from ramp_database import events
from ramp_database.states import State
from ramp_engine.config import EventConfig
from ramp_engine.rehearsal.records import Record
from ramp_engine.testing.invariants import violations, violations_on_disk
from ramp_engine.testing.processes import processes_with

__all__ = ["Expectation", "check", "find_violations", "left_running"]


@dataclass(frozen=True)
class Expectation:
    """What the records are held against."""

    states: dict[str, frozenset[State]]  #: by the name of each submission that was taken
    max_attempts: int
    max_interruptions: int


def find_violations(
    session: Session, event: EventConfig, records: Sequence[Record], expected: Expectation
) -> list[str]:
    """Find everything recorded, or left on the disk, that does not hold.

    Parameters
    ----------
    session : Session
    event : EventConfig
    records : sequence of Record
        All of the event, read when nothing is under way any more.
    expected : Expectation
    """
    event_id = events.get_event(session, event.ramp.event_name).id
    return [
        *check(records, expected),
        *violations(session, event_id),
        *violations_on_disk(session, event_id, event),
    ]


def check(records: Sequence[Record], expected: Expectation) -> list[str]:
    """Find what was lost, what nobody made or is there twice, and what ended as it should not.

    Parameters
    ----------
    records, expected
        As for `find_violations`.
    """
    found = list(_lost(records, expected))
    return found + [problem for record in records for problem in _ending(record, expected)]


def _lost(records: Sequence[Record], expected: Expectation) -> Iterator[str]:
    counts = Counter(record.name for record in records)
    for name in expected.states.keys() - counts.keys():
        yield f"{name} was taken and is not there"
    for record in records:
        if record.name not in expected.states:
            yield f"submission {record.submission_id}: nobody made {record.name}"
        elif counts[record.name] > 1:
            n = counts[record.name]
            yield f"submission {record.submission_id}: {record.name} is there {n} times"


def _ending(record: Record, expected: Expectation) -> Iterator[str]:
    """Hold the state against the planned one; attempts may be spent on faults of ours."""
    states = expected.states.get(record.name)
    if states is None or not record.state.is_final:
        return
    n_interruptions = sum(one.outcome == "interrupted" for one in record.attempts)
    is_spent = (
        record.n_crashes >= expected.max_attempts or n_interruptions > expected.max_interruptions
    )
    if record.state is State.CHECKING_ERROR and not is_spent:
        problem = f"it is checking_error after {record.n_crashes} crashes"
        yield f"submission {record.submission_id}: {problem}"
    elif record.state not in states | {State.CHECKING_ERROR}:
        problem = f"it is {record.state} instead of {', '.join(sorted(states))}"
        yield f"submission {record.submission_id}: {problem}"


def left_running(token: str) -> list[str]:
    """Find processes that are left.

    Parameters
    ----------
    token : str
        What every process of the rehearsal carries in its command.
    """
    return [f"process {pid} is left" for pid in processes_with(token)]
