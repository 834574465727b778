"""The order in which waiting submissions are claimed: the teams take turns.

A submission's *turn* is its place among those of its team that wait, plus the number of those that
run: whoever has nothing running comes before whoever has something. Within a turn

1. a team that had a turn since the longest waiting one of the others began to wait comes later, so
   that nobody is overtaken twice by the same team,
2. then the team that used fewer compute seconds in the event's window comes first,
3. then the older submission.

So a team with 200 waiting submissions delays another's by one turn of a slot at most, whatever the
other used before.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from sqlalchemy import CTE, ColumnElement, ScalarSelect, case, func, literal, or_, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, aliased

from ramp_database import clock
from ramp_database.model import ComputeHour, Event, Submission
from ramp_database.states import OWNED, State

#: For so many hours the compute seconds of a team count, where the event does not say.
DEFAULT_WINDOW_HOURS = 24

#: A turn that no submission has.
_NEVER = 2**31 - 1

_Number: TypeAlias = "int | ColumnElement[int] | InstrumentedAttribute[int]"


def turns(event_id: _Number, n_first: ColumnElement[int] | None = None) -> CTE:
    """Give the waiting submissions of an event that may be claimed, with what orders them.

    Parameters
    ----------
    event_id : int or ColumnElement
    n_first : ColumnElement, optional
        Only those that can be among the first so many; all by default.

    Returns
    -------
    CTE
        Columns ``id``, ``team_id``, ``submitted_at``, ``turn`` (from 1), ``has_had_turn`` (0 or 1),
        ``used_seconds``; see `by_turn`.

    Notes
    -----
    Steps through an index from one team that waits to the next, and from a submission to the next
    of its team, no further than `n_first` calls for: neither what has ended is read, nor the bulk
    of what waits.
    """
    teams = _teams(event_id)
    waiting = _waiting(event_id, teams, n_first)
    is_since_turn = teams.c.last_turn_at > teams.c.first_at
    since = case((is_since_turn, teams.c.last_turn_at), else_=teams.c.first_at)
    placed = (
        select(
            waiting.c.id,
            waiting.c.team_id,
            waiting.c.submitted_at,
            waiting.c.turn,
            teams.c.used_seconds,
            teams.c.last_turn_at,
            func.min(since).over(partition_by=waiting.c.turn).label("longest_since"),
        )
        .join(teams, teams.c.team_id == waiting.c.team_id)
        .cte("placed")
    )
    is_later = case((placed.c.last_turn_at > placed.c.longest_since, 1), else_=0)
    columns = [placed.c[name] for name in ("id", "team_id", "submitted_at", "turn", "used_seconds")]
    return select(*columns, is_later.label("has_had_turn")).cte("turns")


def by_turn(turns: CTE) -> tuple[ColumnElement[Any], ...]:
    """Give the columns by which `turns` are sorted."""
    names = ("turn", "has_had_turn", "used_seconds", "submitted_at", "id")
    return tuple(turns.c[name] for name in names)


def _teams(event_id: _Number) -> CTE:
    """Give the teams that wait: their first submission, what they run, and what they used.

    Both databases make this small table once, instead of asking anew for each submission.
    """
    numbers, first = _team_numbers(event_id), aliased(Submission)
    first_id = _next_id(event_id, numbers.c.team_id)
    return (
        select(
            first.team_id,
            first.id.label("first_id"),
            first.submitted_at.label("first_at"),
            _n_running(event_id, first.team_id).label("n_running"),
            _used_seconds(event_id, first.team_id).label("used_seconds"),
            _last_turn_at(event_id, first.team_id).label("last_turn_at"),
        )
        .select_from(numbers)
        .join(first, first.id == first_id)
        .cte("waiting_teams")
        .prefix_with("MATERIALIZED")
    )


def _team_numbers(event_id: _Number) -> CTE:
    """Step from each team that has something waiting to the next; the last row is NULL."""
    team, later = aliased(Submission), aliased(Submission)
    is_waiting = [(one.event_id == event_id) & (one.state == State.NEW) for one in (team, later)]
    lowest = select(func.min(team.team_id).label("team_id")).where(is_waiting[0])
    numbers = lowest.cte("team_numbers", recursive=True)
    above = select(func.min(later.team_id)).where(is_waiting[1], later.team_id > numbers.c.team_id)
    step = select(above.scalar_subquery()).where(numbers.c.team_id.is_not(None))
    return numbers.union_all(step)


def _waiting(event_id: _Number, teams: CTE, n_first: ColumnElement[int] | None) -> CTE:
    """Step from each team's first submission to its next, as far as can be among the first."""
    waiting = select(
        teams.c.team_id,
        teams.c.first_id.label("id"),
        teams.c.first_at.label("submitted_at"),
        (teams.c.n_running + 1).label("turn"),
        literal(1).label("place"),
    ).cte("waiting", recursive=True)
    following = aliased(Submission)
    next_id = _next_id(event_id, waiting.c.team_id, after=waiting)
    step = select(
        waiting.c.team_id,
        following.id,
        following.submitted_at,
        waiting.c.turn + 1,
        waiting.c.place + 1,
    ).join(following, following.id == next_id)
    if n_first is not None:
        step = step.where(waiting.c.place < n_first, waiting.c.turn < _last_turn(teams, n_first))
    return waiting.union_all(step)


def _last_turn(teams: CTE, n_first: ColumnElement[int]) -> ColumnElement[int]:
    """Give the turn by which the teams' first submissions alone are `n_first`."""
    turn = select(teams.c.n_running + 1).order_by(teams.c.n_running).offset(n_first - 1).limit(1)
    return func.coalesce(turn.scalar_subquery(), _NEVER)


def _next_id(event_id: _Number, team_id: _Number, after: CTE | None = None) -> ScalarSelect[int]:
    """Find a team's next submission that may be claimed now, by age."""
    one = aliased(Submission)
    query = (
        select(one.id)
        .where(one.event_id == event_id, one.state == State.NEW, one.team_id == team_id)
        .where(or_(one.not_before.is_(None), one.not_before <= clock.now()))
        .order_by(one.submitted_at, one.id)
        .limit(1)
    )
    if after is not None:
        age = tuple_(one.submitted_at, one.id)
        query = query.where(age > tuple_(after.c.submitted_at, after.c.id))
    return query.scalar_subquery()


def _n_running(event_id: _Number, team_id: _Number) -> ScalarSelect[int]:
    running = aliased(Submission)
    return (
        select(func.count())
        .where(running.event_id == event_id, running.state.in_(OWNED))
        .where(running.team_id == team_id)
        .scalar_subquery()
    )


def _used_seconds(event_id: _Number, team_id: _Number) -> ScalarSelect[float]:
    hours = func.coalesce(Event.fair_share_window_hours, DEFAULT_WINDOW_HOURS)
    window = select(hours).where(Event.id == event_id).scalar_subquery()
    return (
        select(func.coalesce(func.sum(ComputeHour.seconds), 0.0))
        .where(ComputeHour.event_id == event_id, ComputeHour.team_id == team_id)
        .where(ComputeHour.hour > clock.hour() - window)
        .scalar_subquery()
    )


def _last_turn_at(event_id: _Number, team_id: _Number) -> ScalarSelect[Any]:
    claimed = aliased(Submission)
    return (
        select(func.max(claimed.claimed_at))
        .where(claimed.event_id == event_id, claimed.team_id == team_id)
        .scalar_subquery()
    )
