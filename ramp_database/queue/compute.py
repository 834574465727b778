"""The compute seconds of the teams, which weigh in the order of the queue."""

from __future__ import annotations

import typing
from functools import cache

from sqlalchemy import Double, Insert, Table, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Attempt, ComputeHour, Submission
from ramp_database.statements import count_changed


def add_compute(session: Session, submission_id: int, number: int) -> None:
    """Add the seconds of an attempt that has just ended to what its team has used.

    Notes
    -----
    One statement. An attempt that never started adds nothing.
    """
    values = {"the_submission": submission_id, "the_number": number}
    count_changed(session, _adding(session.get_bind().dialect.name), values)


@cache
def _adding(dialect: str) -> Insert:
    seconds = clock.epoch(Attempt.finished_at) - clock.epoch(Attempt.started_at)
    # the columns of the primary key, and the seconds
    ended = (
        select(
            Submission.event_id,
            Submission.team_id,
            clock.hour(),
            Attempt.dispatcher_id,
            cast(seconds, Double),
        )
        .join(Submission, Submission.id == Attempt.submission_id)
        .where(Attempt.submission_id == bindparam("the_submission"))
        .where(Attempt.number == bindparam("the_number"))
        .where(Attempt.started_at.is_not(None), Attempt.finished_at >= Attempt.started_at)
    )
    is_postgresql = dialect == "postgresql"
    insert = postgresql.insert if is_postgresql else sqlite.insert
    table = typing.cast("Table", ComputeHour.__table__)
    statement = insert(table).from_select([column.name for column in table.columns], ended)
    total = table.c.seconds + func.coalesce(statement.excluded.seconds, 0.0)
    key = [column.name for column in table.primary_key]
    return statement.on_conflict_do_update(index_elements=key, set_={"seconds": total})
