"""Taking over runs that outlive their dispatcher."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.attempts import folds_started_at
from ramp_database.model import Attempt, Submission
from ramp_database.queue.transitions import Claim, Standing, Step, record
from ramp_database.statements import count_changed
from ramp_database.states import OWNED


@dataclass(frozen=True)
class Adopted:
    """A run that goes on under a new owner."""

    claim: Claim  #: the new owner's
    handle: str  #: by which its worker finds the run
    bundle_hash: str | None  #: of the bundle that it is trained with
    elapsed_seconds: float  #: since the run started


def adopt(session: Session, standing: Standing, dispatcher_id: int, reason: str) -> Adopted | None:
    """Make a dispatcher the owner of a run that outlived its own, if there is a way to find it.

    Parameters
    ----------
    session : Session
    standing : Standing
        Of a submission in training whose owner has ended, read under a lock.
    dispatcher_id : int
        The new owner.
    reason : str
        For the history.

    Returns
    -------
    Adopted or None
        None when no handle is known: the run died with its dispatcher.

    Notes
    -----
    The attempt goes on. Counted as an interruption, not as a crash.
    """
    this_attempt = (
        Attempt.submission_id == standing.id,
        Attempt.number == standing.attempt,
    )
    elapsed = clock.epoch(clock.now()) - clock.epoch(folds_started_at())
    query = select(Attempt.handle, Attempt.bundle_hash, elapsed).where(*this_attempt)
    handle, bundle_hash, seconds = session.execute(query).one()
    if handle is None:
        return None
    take_over(
        session,
        standing,
        dispatcher_id,
        f"adopted: {reason}",
        n_interruptions=standing.n_interruptions + 1,
    )
    claim = Claim(standing.id, standing.attempt, dispatcher_id)
    return Adopted(claim, handle, bundle_hash, max(0.0, float(seconds or 0.0)))


def take_over(
    session: Session, standing: Standing, dispatcher_id: int, reason: str, **counts: int
) -> None:
    """Change the owner of a submission; state and attempt stay.

    Parameters
    ----------
    session : Session
    standing : Standing
        Read under a lock.
    dispatcher_id : int
        The new owner.
    reason : str
        For the history.
    **counts
        Columns of the submission that count.
    """
    submission = update(Submission).where(Submission.id == standing.id)
    count_changed(session, submission.values(dispatcher_id=dispatcher_id, **counts))
    attempt = update(Attempt).where(
        Attempt.submission_id == standing.id, Attempt.number == standing.attempt
    )
    count_changed(session, attempt.values(dispatcher_id=dispatcher_id))
    state = standing.state
    record(session, [Step(standing.id, state, state, standing.attempt, dispatcher_id, reason)])


def holder(session: Session, claim: Claim) -> int | None:
    """Tell which dispatcher owns the attempt of a claim: another than the claim's adopted it.

    Returns
    -------
    int or None
        None when the attempt is over.
    """
    query = select(Submission.dispatcher_id).where(
        Submission.id == claim.submission_id,
        Submission.attempt == claim.attempt,
        Submission.state.in_(OWNED),
    )
    return session.execute(query).scalar_one_or_none()
