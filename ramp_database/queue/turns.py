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

from typing import Any

from sqlalchemy import CTE, ColumnElement, ScalarSelect, case, func, or_, select
from sqlalchemy.orm import aliased

from ramp_database import clock
from ramp_database.model import ComputeHour, Event, Submission
from ramp_database.states import OWNED, State

#: For so many hours the compute seconds of a team count, where the event does not say.
DEFAULT_WINDOW_HOURS = 24


def turns(event_id: int, n_per_team: int | None = None) -> CTE:
    """Give the waiting submissions of an event that may be claimed, with what orders them.

    Parameters
    ----------
    event_id : int
    n_per_team : int, optional
        Only the first so many of each team; all by default.

    Returns
    -------
    CTE
        Columns ``id``, ``team_id``, ``submitted_at``, ``turn`` (from 1), ``has_had_turn`` (0 or 1),
        ``used_seconds``; see `by_turn`.

    Notes
    -----
    Reads the waiting submissions from an index, and for each team that has some: what it runs, its
    last claim and a few rows of compute seconds. What has ended is not read.
    """
    waiting = _waiting(event_id)
    teams = _teams(event_id, waiting)
    within = [] if n_per_team is None else [waiting.c.place <= n_per_team]
    is_since_turn = teams.c.last_turn_at > teams.c.first_at
    since = case((is_since_turn, teams.c.last_turn_at), else_=teams.c.first_at)
    turn = (waiting.c.place + teams.c.n_running).label("turn")
    placed = (
        select(
            waiting.c.id,
            waiting.c.team_id,
            waiting.c.submitted_at,
            turn,
            teams.c.used_seconds,
            teams.c.last_turn_at,
            func.min(since).over(partition_by=turn).label("longest_since"),
        )
        .join(teams, teams.c.team_id == waiting.c.team_id)
        .where(*within)
        .cte("placed")
    )
    is_later = case((placed.c.last_turn_at > placed.c.longest_since, 1), else_=0)
    columns = [placed.c[name] for name in ("id", "team_id", "submitted_at", "turn", "used_seconds")]
    return select(*columns, is_later.label("has_had_turn")).cte("turns")


def by_turn(turns: CTE) -> tuple[ColumnElement[Any], ...]:
    """Give the columns by which `turns` are sorted."""
    names = ("turn", "has_had_turn", "used_seconds", "submitted_at", "id")
    return tuple(turns.c[name] for name in names)


def _waiting(event_id: int) -> CTE:
    """Give what may be claimed now, with its place among those of its team, from 1."""
    place = func.row_number().over(
        partition_by=Submission.team_id, order_by=(Submission.submitted_at, Submission.id)
    )
    return (
        select(Submission.id, Submission.team_id, Submission.submitted_at, place.label("place"))
        .where(Submission.event_id == event_id, Submission.state == State.NEW)
        .where(or_(Submission.not_before.is_(None), Submission.not_before <= clock.now()))
        .cte("waiting")
    )


def _teams(event_id: int, waiting: CTE) -> CTE:
    """Give the teams that wait: what they run, what they used, since when they wait.

    Both databases make this small table once, instead of asking anew for each submission.
    """
    heads = (
        select(waiting.c.team_id, func.min(waiting.c.submitted_at).label("first_at"))
        .group_by(waiting.c.team_id)
        .cte("heads")
    )
    return (
        select(
            heads.c.team_id,
            heads.c.first_at,
            _n_running(event_id, heads).label("n_running"),
            _used_seconds(event_id, heads).label("used_seconds"),
            _last_turn_at(event_id, heads).label("last_turn_at"),
        )
        .cte("teams")
        .prefix_with("MATERIALIZED")
    )


def _n_running(event_id: int, heads: CTE) -> ScalarSelect[int]:
    running = aliased(Submission)
    return (
        select(func.count())
        .where(running.event_id == event_id, running.state.in_(OWNED))
        .where(running.team_id == heads.c.team_id)
        .scalar_subquery()
    )


def _used_seconds(event_id: int, heads: CTE) -> ScalarSelect[float]:
    hours = func.coalesce(Event.fair_share_window_hours, DEFAULT_WINDOW_HOURS)
    window = select(hours).where(Event.id == event_id).scalar_subquery()
    return (
        select(func.coalesce(func.sum(ComputeHour.seconds), 0.0))
        .where(ComputeHour.event_id == event_id, ComputeHour.team_id == heads.c.team_id)
        .where(ComputeHour.hour > clock.hour() - window)
        .scalar_subquery()
    )


def _last_turn_at(event_id: int, heads: CTE) -> ScalarSelect[Any]:
    claimed = aliased(Submission)
    return (
        select(func.max(claimed.claimed_at))
        .where(claimed.event_id == event_id, claimed.team_id == heads.c.team_id)
        .scalar_subquery()
    )
