"""How many submissions are in each final state, kept as they get there."""

from __future__ import annotations

from functools import cache
from typing import cast

from sqlalchemy import Insert, Integer, Table, bindparam, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from ramp_database.model import EndedCount, Submission
from ramp_database.statements import count_changed
from ramp_database.states import FINAL, State

__all__ = ["count_end", "count_scored", "count_states"]


def count_end(
    session: Session,
    submission_id: int,
    source: State | None,
    target: State,
    dispatcher_id: int | None,
) -> None:
    """Count a submission that came to a final state, or was taken out of one.

    Notes
    -----
    One statement; none for a step between states that are not final.
    """
    if source is target:
        return
    if target in FINAL:
        _add(session, submission_id, target, dispatcher_id or 0, 1)
    if source in FINAL:
        _add(session, submission_id, source, dispatcher_id or 0, -1)


def _add(session: Session, submission_id: int, state: State, dispatcher_id: int, n: int) -> None:
    values = {"the_id": submission_id, "the_state": state, "the_owner": dispatcher_id, "one": n}
    count_changed(session, _adding(session.get_bind().dialect.name), values)


@cache
def _adding(dialect: str) -> Insert:
    table = cast("Table", EndedCount.__table__)
    of_event = select(
        Submission.event_id,
        bindparam("the_state", type_=table.c.state.type),
        bindparam("the_owner", type_=Integer),
        bindparam("one", type_=Integer),
    ).where(Submission.id == bindparam("the_id"))
    is_postgresql = dialect == "postgresql"
    insert = postgresql.insert if is_postgresql else sqlite.insert
    statement = insert(table).from_select([column.name for column in table.columns], of_event)
    key = [column.name for column in table.primary_key]
    total = {"n": table.c.n + statement.excluded.n}
    return statement.on_conflict_do_update(index_elements=key, set_=total)


def count_states(session: Session, event_id: int) -> dict[State, int]:
    """Count the submissions of an event in each state; states without any are left out.

    Notes
    -----
    The cost grows with what waits and runs, not with what has ended.
    """
    ended = (
        select(EndedCount.state, func.sum(EndedCount.n))
        .where(EndedCount.event_id == event_id)
        .group_by(EndedCount.state)
    )
    others = (
        select(Submission.state, func.count())
        .where(Submission.event_id == event_id, Submission.state.in_(set(State) - FINAL))
        .group_by(Submission.state)
    )
    counts = dict(session.execute(ended.union_all(others)).all())
    return {state: int(n) for state, n in counts.items() if n}


def count_scored(session: Session, event_id: int) -> int:
    """Count the scored submissions of an event; the cost grows with the number of dispatchers."""
    query = select(func.coalesce(func.sum(EndedCount.n), 0)).where(
        EndedCount.event_id == event_id, EndedCount.state == State.SCORED
    )
    return int(session.execute(query).scalar_one())
