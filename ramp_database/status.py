"""How an event stands: states, and submissions one by one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import partial
from ramp_database.errors import NotFoundError
from ramp_database.model import Attempt, Dispatcher, Event, Submission, Team
from ramp_database.queue.counting import count_states
from ramp_database.states import State
from ramp_database.waiting import Waiting, waiting

_COLUMNS = (
    Submission.id,
    Team.name.label("team"),
    Submission.name,
    Submission.state,
    Submission.attempt,
    Submission.error,
    Submission.outcome,
    Submission.submitted_at,
    Submission.not_before,
    Submission.n_crashes,
    Submission.n_interruptions,
    Attempt.error.label("attempt_error"),
    Submission.cancel_requested_at.is_not(None).label("is_cancel_requested"),
    Submission.public_score.label("score"),
    Submission.dispatcher_id.label("dispatcher"),
)


def event_status(session: Session, event_id: int, limit: int | None = None) -> dict[str, Any]:
    """Tell how an event stands.

    Parameters
    ----------
    session : Session
    event_id : int
    limit : int, optional
        Only so many of the newest submissions; all by default. The states count all.

    Returns
    -------
    dict
        ``{"event": name, "states": {state: n}, "submissions": [{"id", "team", "name", "state",
        "attempt", "error", "outcome", "submitted_at", ...}], "dispatchers": [...]}``, ready for
        JSON: times in ISO format, the newest last. Of one that waits ``queue_place`` (from 1),
        ``waiting_reason`` (see `ramp_database.waiting.WaitingReason`), ``expected_start_at`` and
        ``expected_end_at``; these are None otherwise, and where they cannot be known.
        ``attempt_error``: why its last attempt ended, if not well. Of one that runs ``partial``:
        the scores of its folds that are done (`ramp_database.partial.read`), None while there are
        none. States in the order of a submission's way, those without submissions
        left out; dispatchers that have not ended.

    Raises
    ------
    NotFoundError
        There is no such event.
    """
    name = session.scalar(select(Event.name).where(Event.id == event_id))
    if name is None:
        raise NotFoundError("event", event_id)
    return {
        "event": name,
        "states": _states(session, event_id),
        "submissions": _submissions(session, event_id, limit),
        "dispatchers": _dispatchers(session, event_id),
    }


def _states(session: Session, event_id: int) -> dict[str, int]:
    counts = count_states(session, event_id)
    return {state.value: counts[state] for state in State if state in counts}


def _submissions(session: Session, event_id: int, limit: int | None) -> list[dict[str, Any]]:
    query = (
        select(*_COLUMNS)
        .join(Team, Team.id == Submission.team_id)
        .outerjoin(
            Attempt,
            (Attempt.submission_id == Submission.id) & (Attempt.number == Submission.attempt),
        )
        .where(Submission.event_id == event_id)
        .order_by(Submission.id.desc())
        .limit(limit)
    )
    rows = session.execute(query).mappings().all()
    queued = waiting(session, event_id)
    partials = partial.read(session, Submission.event_id == event_id)
    return [
        dict(row)
        | {
            "state": row["state"].value,
            "submitted_at": row["submitted_at"].isoformat(),
            "not_before": _iso(row["not_before"]),
            "partial": partials.get(row["id"]),
        }
        | _waiting_columns(queued.get(row["id"]))
        for row in reversed(rows)
    ]


def _waiting_columns(found: Waiting | None) -> dict[str, Any]:
    return {
        "queue_place": found and found.place,
        "waiting_reason": found and found.reason.value,
        "expected_start_at": found and _iso(found.expected_start_at),
        "expected_end_at": found and _iso(found.expected_end_at),
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat() if time else None


def _dispatchers(session: Session, event_id: int) -> list[dict[str, Any]]:
    query = select(Dispatcher).where(Dispatcher.event_id == event_id, Dispatcher.ended_at.is_(None))
    return [
        {
            "id": row.id,
            "host": row.host,
            "pid": row.pid,
            "n_workers": row.n_workers,
            "started_at": row.started_at.isoformat(),
            "beat_at": row.beat_at.isoformat(),
        }
        for row in session.scalars(query.order_by(Dispatcher.id))
    ]
