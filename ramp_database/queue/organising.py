"""What teams and organisers do with a submission: cancel, reopen, set its state."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.orm import Session

from ramp_database import clock, results
from ramp_database.model import Submission
from ramp_database.queue.transitions import (
    RELEASED,
    Standing,
    Step,
    check_transition,
    end_attempt,
    move_read,
    read_standing,
    record,
    refusal,
)
from ramp_database.statements import count_changed
from ramp_database.states import OWNED, State

_OUTCOMES = {State.CANCELED: "canceled", State.CHECKING_ERROR: "crashed"}

#: The values of a submission that has just been submitted.
_FRESH = RELEASED | {
    "n_crashes": 0,
    "n_interruptions": 0,
    "not_before": None,
    "error": None,
    "outcome": None,
    "public_score": None,
    "private_score": None,
    "public_order": None,
    "private_order": None,
    "train_seconds": None,
    "valid_seconds": None,
    "test_seconds": None,
}


def cancel(session: Session, submission_id: int, reason: str) -> State:
    """Cancel a submission: at once when it waits, else as a wish that its owner sees.

    Parameters
    ----------
    session : Session
    submission_id : int
    reason : str
        Who wants that, and why.

    Returns
    -------
    State
        canceled, or the state in which it is until its owner has ended the run.

    Raises
    ------
    NotFoundError
        There is no such submission.
    TransitionError
        It has ended already.
    """
    standing = read_standing(session, submission_id)
    if standing.state.is_final:
        hint = "It has ended already"
        raise refusal(submission_id, standing.state, State.CANCELED, hint)
    if standing.state in OWNED:
        statement = update(Submission).where(
            Submission.id == submission_id, Submission.cancel_requested_at.is_(None)
        )
        values = {"cancel_requested_at": clock.now(), "cancel_reason": reason}
        if count_changed(session, statement.values(values)):
            wish = f"cancel requested: {reason}"
            state = standing.state
            record(session, [Step(standing.id, state, state, standing.attempt, reason=wish)])
        return standing.state
    values = RELEASED | {"not_before": None, "error": reason, "outcome": "canceled"}
    move_read(session, standing, State.CANCELED, reason=reason, **values)
    return State.CANCELED


def reopen(session: Session, submission_id: int, reason: str) -> None:
    """Have a submission that has ended evaluated again; its history is kept, its scores are not.

    Raises
    ------
    NotFoundError
        There is no such submission.
    TransitionError
        It has not ended.
    """
    standing = read_standing(session, submission_id)
    if not standing.state.is_final:
        hint = f"It is being evaluated: `ramp cancel {submission_id} --wait` ends that first"
        if standing.state is State.NEW:
            hint = f"It waits already: `ramp explain {submission_id}` says for what"
        raise refusal(submission_id, standing.state, State.NEW, hint)
    _renew(session, standing, reason)


def set_state(session: Session, submission_id: int, state: State, reason: str) -> None:
    """Set the state of a submission by the organiser's hand.

    A submission that a dispatcher owns is taken from it: it ends the run and records nothing.

    Parameters
    ----------
    session : Session
    submission_id : int
    state : State
        new, canceled, or one of the errors. Only a dispatcher says that a submission is being
        evaluated, and only results make it scored.
    reason : str

    Raises
    ------
    NotFoundError
        There is no such submission.
    TransitionError
        There is no such transition, or it is not the organiser's.
    """
    standing = read_standing(session, submission_id)
    if state in OWNED or state is State.SCORED:
        hint = "Only its evaluation does that: set it to 'new' to have it evaluated again"
        raise refusal(submission_id, standing.state, state, hint)
    check_transition(submission_id, standing.state, state)
    if standing.state in OWNED:
        end_attempt(session, standing.id, standing.attempt, "interrupted", reason)
    if state is State.NEW:
        _renew(session, standing, reason)
    else:
        outcome = _OUTCOMES.get(state, "failed")
        values = RELEASED | {"not_before": None, "error": reason, "outcome": outcome}
        move_read(session, standing, state, reason=reason, **values)


def _renew(session: Session, standing: Standing, reason: str) -> None:
    results.discard(session, standing.id)
    move_read(session, standing, State.NEW, reason=reason, **_FRESH)
