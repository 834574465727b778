"""What the database holds about the submissions of an event, read at once."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ramp_database.history import AttemptFacts, StepFacts
from ramp_database.model import Attempt, Submission, SubmissionEvent
from ramp_database.states import State

__all__ = ["Record", "count_crashes", "count_states", "read_records"]


@dataclass(frozen=True)
class Record:
    """What is recorded of the way of a submission."""

    submission_id: int
    name: str
    state: State
    attempt: int  #: the newest
    n_crashes: int
    steps: tuple[StepFacts, ...]  #: the oldest first
    attempts: tuple[AttemptFacts, ...]

    @property
    def slot_seconds(self) -> list[float]:
        """For how long each attempt that led to a score held a slot, in seconds.

        From its claim until its predictions were there: to be scored takes no slot.
        """
        freed = {step.attempt: step.at for step in self.steps if step.to_state is State.TESTED}
        return [
            (freed[one.number] - one.claimed_at).total_seconds()
            for one in self.attempts
            if one.outcome == "succeeded" and one.number in freed
        ]


def read_records(session: Session, event_name: str) -> list[Record]:
    """Read the records of all submissions of an event, in the order of their numbers.

    Notes
    -----
    Three statements, whatever the number of submissions.
    """
    rows = session.scalars(
        select(Submission).where(Submission.event.has(name=event_name)).order_by(Submission.id)
    ).all()
    steps = _facts(session, StepFacts, SubmissionEvent, SubmissionEvent.id)
    attempts = _facts(session, AttemptFacts, Attempt, Attempt.number)
    return [
        Record(
            submission_id=row.id,
            name=row.name,
            state=row.state,
            attempt=row.attempt,
            n_crashes=row.n_crashes,
            steps=tuple(steps[row.id]),
            attempts=tuple(attempts[row.id]),
        )
        for row in rows
    ]


def _facts(session: Session, kind: Any, table: Any, order: Any) -> dict[int, list[Any]]:
    """Read all rows of a table as facts, by submission."""
    columns = [getattr(table, name) for name in kind.__dataclass_fields__]
    found: dict[int, list[Any]] = defaultdict(list)
    for submission_id, *values in session.execute(
        select(table.submission_id, *columns).order_by(table.submission_id, order)
    ):
        found[submission_id].append(kind(*values))
    return found


def count_crashes(records: Iterable[Record]) -> dict[str, int]:
    """Count why attempts crashed, the most frequent reason first; numbers in it become ``N``."""
    reasons = Counter(
        re.sub(r"\d+", "N", (one.error or "no reason known").splitlines()[0])
        for record in records
        for one in record.attempts
        if one.outcome == "crashed"
    )
    return dict(reasons.most_common())


def count_states(session: Session) -> dict[State, int]:
    """Count the submissions in each state."""
    query = select(Submission.state, func.count()).group_by(Submission.state)
    return dict(session.execute(query).tuples().all())
