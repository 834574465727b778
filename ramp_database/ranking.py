"""The order of a leaderboard, as numbers that an index can sort.

A submission's place is given by one column in which the lower is the better, whatever the score
type says, and in which a score that is no finite number comes last: one direction for all events
on both databases, so that a page is read from the index.
"""

from __future__ import annotations

import sys

from sqlalchemy import ColumnElement, case, func, literal, select, update
from sqlalchemy.orm import Session

from ramp_database.model import BaggedScore, ScoreType, Submission

#: Stands for no score: worse than every other.
NO_SCORE = sys.float_info.max


def order_of(score: float | None, *, is_lower_the_better: bool) -> float:
    """Give the number to sort a score by: the lower the better."""
    if score is None:
        return NO_SCORE
    return score if is_lower_the_better else -score


def reorder(session: Session, event_id: int, official: ScoreType) -> None:
    """Order the scored submissions of an event by another official score type, or direction."""
    for prefix, bag in (("public", BaggedScore.valid_bag), ("private", BaggedScore.test_bag)):
        of_submission = (
            select(bag)
            .where(BaggedScore.submission_id == Submission.id)
            .where(BaggedScore.score_type_id == official.id)
            .scalar_subquery()
        )
        _set(session, event_id, prefix, of_submission, is_lower=official.is_lower_the_better)


def _set(
    session: Session,
    event_id: int,
    prefix: str,
    score: ColumnElement[float | None],
    *,
    is_lower: bool,
) -> None:
    sign = case((literal(is_lower), 1.0), else_=-1.0)
    order = getattr(Submission, f"{prefix}_order")
    values = {
        f"{prefix}_score": score,
        f"{prefix}_order": func.coalesce(score * sign, NO_SCORE),
    }
    statement = update(Submission).where(Submission.event_id == event_id, order.is_not(None))
    session.execute(statement.values(values), execution_options={"synchronize_session": False})
