"""What those who wait want to know: their place in the queue, why they wait, and how long."""

from __future__ import annotations

import heapq
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.orm import Session, aliased

from ramp_database import clock
from ramp_database.model import Attempt, Dispatcher, EventTeam, Submission
from ramp_database.queue.turns import by_turn, turns
from ramp_database.states import OWNED, PARTICIPANT_ERRORS, State

#: The newest runs of so many teams tell how long one takes.
N_RUNS = 50


class WaitingReason(StrEnum):
    """Why a submission waits."""

    NO_DISPATCHER = "no_dispatcher"  #: none of the event lives
    DELAYED = "delayed"  #: after a crash of ours, until ``not_before``
    STARTING = "starting"  #: there is a free slot for it
    TEAMS_TURN = "teams_turn"  #: younger ones of other teams come first: it is their turn
    NO_FREE_SLOT = "no_free_slot"


@dataclass(frozen=True)
class Waiting:
    """How a waiting submission stands."""

    place: int | None  #: from 1; None while it is delayed
    reason: WaitingReason
    expected_start_at: datetime | None  #: None when it cannot be known
    expected_end_at: datetime | None


@dataclass(frozen=True)
class _Queued:
    id: int
    submitted_at: datetime
    not_before: datetime | None  #: only of those that are delayed


def waiting(session: Session, event_id: int) -> dict[int, Waiting]:
    """Tell how the waiting submissions of an event stand.

    Parameters
    ----------
    session : Session
    event_id : int

    Returns
    -------
    dict
        By the number of the submission. The times are estimates: from the median of the newest
        runs, and the slots of the dispatchers that live.
    """
    ready, delayed = _ready(session, event_id), _delayed(session, event_id)
    if not ready and not delayed:
        return {}
    now = clock.read(session)
    n_slots = _n_slots(session, event_id)
    seconds = _median_seconds(session, event_id)
    started = _running_since(session, event_id)
    n_free = max(n_slots - len(started), 0)
    times = _forecast([*ready, *delayed], now, n_slots, started, seconds)
    reasons = _reasons(ready, delayed, n_slots, n_free)
    places = {one.id: place for place, one in enumerate(ready, start=1)}
    return {
        id_: Waiting(places.get(id_), reason, *times.get(id_, (None, None)))
        for id_, reason in reasons.items()
    }


def _ready(session: Session, event_id: int) -> list[_Queued]:
    ordered = turns(event_id)
    query = select(ordered.c.id, ordered.c.submitted_at).order_by(*by_turn(ordered))
    return [_Queued(id_, submitted_at, None) for id_, submitted_at in session.execute(query)]


def _delayed(session: Session, event_id: int) -> list[_Queued]:
    query = (
        select(Submission.id, Submission.submitted_at, Submission.not_before)
        .where(Submission.event_id == event_id, Submission.state == State.NEW)
        .where(Submission.not_before > clock.now())
        .order_by(Submission.not_before, Submission.id)
    )
    return [_Queued(*row) for row in session.execute(query)]


def _n_slots(session: Session, event_id: int) -> int:
    """Count the slots of the dispatchers whose heartbeat is fresh."""
    query = select(func.sum(func.coalesce(Dispatcher.n_workers, 1))).where(
        Dispatcher.event_id == event_id,
        Dispatcher.ended_at.is_(None),
        Dispatcher.beat_at >= clock.now(-Dispatcher.stale_after_seconds),
    )
    return session.scalar(query) or 0


def _running_since(session: Session, event_id: int) -> list[datetime]:
    """Give since when slots are taken: who is being scored has left its own."""
    query = (
        select(Attempt.claimed_at)
        .join(Submission, Submission.id == Attempt.submission_id)
        .where(Submission.event_id == event_id, Submission.state.in_(OWNED - {State.TESTED}))
        .where(Attempt.number == Submission.attempt)
        .order_by(Attempt.claimed_at)
    )
    return list(session.scalars(query))


def _median_seconds(session: Session, event_id: int) -> float | None:
    """Give how long a run takes from its claim on: None when none has ended yet.

    A team's newest run stands for all of it: one look into an index for each team, however many
    have ended.
    """
    query = (
        select(Attempt.claimed_at, Attempt.finished_at)
        .select_from(EventTeam)
        .join(Submission, Submission.id == _newest_ended(event_id))
        .join(Attempt, Attempt.submission_id == Submission.id)
        .where(EventTeam.event_id == event_id)
        .where(Attempt.number == Submission.attempt, Attempt.finished_at.is_not(None))
        .order_by(Attempt.claimed_at.desc())
        .limit(N_RUNS)
    )
    rows: Iterable[Any] = session.execute(query)
    runs = [(end - start).total_seconds() for start, end in rows]
    return statistics.median(runs) if runs else None


def _newest_ended(event_id: int) -> ScalarSelect[int]:
    one = aliased(Submission)
    return (
        select(one.id)
        .where(one.event_id == event_id, one.team_id == EventTeam.team_id)
        .where(one.claimed_at.is_not(None), one.state.in_([State.SCORED, *PARTICIPANT_ERRORS]))
        .order_by(one.claimed_at.desc())
        .limit(1)
        .correlate(EventTeam)
        .scalar_subquery()
    )


def _reasons(
    ready: Sequence[_Queued], delayed: Sequence[_Queued], n_slots: int, n_free: int
) -> dict[int, WaitingReason]:
    if n_slots == 0:
        return dict.fromkeys([one.id for one in (*ready, *delayed)], WaitingReason.NO_DISPATCHER)
    reasons = {one.id: WaitingReason.DELAYED for one in delayed}
    youngest = datetime.min.replace(tzinfo=ready[0].submitted_at.tzinfo) if ready else None
    for index, one in enumerate(ready):
        if index < n_free:
            reasons[one.id] = WaitingReason.STARTING
        elif youngest is not None and youngest > one.submitted_at:
            reasons[one.id] = WaitingReason.TEAMS_TURN
        else:
            reasons[one.id] = WaitingReason.NO_FREE_SLOT
        youngest = max(one.submitted_at, youngest or one.submitted_at)
    return reasons


def _forecast(
    queued: Iterable[_Queued],
    now: datetime,
    n_slots: int,
    started: Sequence[datetime],
    seconds: float | None,
) -> dict[int, tuple[datetime, datetime]]:
    """Play the queue through, each run as long as the median; empty when that cannot be."""
    if n_slots == 0 or seconds is None:
        return {}
    length = timedelta(seconds=seconds)
    slots = [max(now, start + length) for start in started][:n_slots]
    slots += [now] * (n_slots - len(slots))
    heapq.heapify(slots)
    times = {}
    for one in queued:
        start = max(slots[0], one.not_before or now)
        heapq.heapreplace(slots, start + length)
        times[one.id] = (start, start + length)
    return times
