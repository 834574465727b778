"""What is known of the attempts at a submission while they run."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ScalarSelect, func, select
from sqlalchemy.orm import Session

from ramp_database.model import Attempt, SubmissionEvent
from ramp_database.states import State


def folds_started_at() -> ScalarSelect[datetime]:
    """Select when the folds of an attempt started: NULL when they did not.

    The history says it as soon as they have; the attempt's own row repeats it once it has ended.
    """
    return (
        select(func.min(SubmissionEvent.at))
        .where(SubmissionEvent.submission_id == Attempt.submission_id)
        .where(SubmissionEvent.attempt == Attempt.number)
        .where(SubmissionEvent.from_state == State.SENT_TO_TRAINING)
        .where(SubmissionEvent.to_state == State.TRAINING)
        .correlate(Attempt)
        .scalar_subquery()
    )


def newest_reopened(session: Session, submission_id: int) -> int:
    """Give the newest attempt after which somebody had the submission evaluated anew; 0 for none.

    By hand: a dispatcher that gives a submission back has the next attempt go on with it.
    """
    query = (
        select(func.max(SubmissionEvent.attempt))
        .where(SubmissionEvent.submission_id == submission_id)
        .where(SubmissionEvent.to_state == State.NEW, SubmissionEvent.dispatcher_id.is_(None))
    )
    return session.scalar(query) or 0
