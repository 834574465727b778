"""Whether somebody still answers for what was started for a submission, such as a machine."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import presence
from ramp_database.model import Attempt, Submission
from ramp_database.presence import Presence
from ramp_database.states import State

__all__ = ["Answerable", "answerable"]


@dataclass(frozen=True)
class Answerable:
    """Who may answer for something, as the database knows them."""

    maker: Presence | None  #: the dispatcher that started it; None: its row is gone
    #: whose the attempt is now that it was started for; None: the attempt is over, not there yet,
    #: or nobody could find its run again
    owner: Presence | None


def answerable(
    session: Session, dispatcher_id: int, submission_id: int, attempt: int
) -> Answerable:
    """Tell who may answer for what a dispatcher started for an attempt.

    Parameters
    ----------
    session : Session
    dispatcher_id : int
        Who started it.
    submission_id, attempt : int
        For what.

    Notes
    -----
    Two statements. An attempt that another dispatcher adopted has that one as its owner.
    """
    query = (
        select(Submission.dispatcher_id)
        .join(
            Attempt,
            (Attempt.submission_id == Submission.id) & (Attempt.number == Submission.attempt),
        )
        .where(Submission.id == submission_id, Submission.attempt == attempt)
        .where(Submission.state.in_((State.SENT_TO_TRAINING, State.TRAINING)))
        .where(Attempt.handle.is_not(None))
    )
    owner_id = session.execute(query).scalar_one_or_none()
    numbers = {dispatcher_id} if owner_id is None else {dispatcher_id, owner_id}
    found = presence.of_numbers(session, numbers)
    return Answerable(found.get(dispatcher_id), found.get(owner_id or 0))
