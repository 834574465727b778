"""Attempts that end without a result through no fault of the participant's."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import clock
from ramp_database.model import Attempt
from ramp_database.provenance import Provenance
from ramp_database.queue.transitions import (
    RELEASED,
    Claim,
    Standing,
    end_attempt,
    held,
    move_read,
    shortened,
)
from ramp_database.states import State

#: How often a submission is given back before that counts as a failure of ours.
MAX_INTERRUPTIONS = 20
#: Delay after the first crash, and the longest one, in seconds; each is four times the last.
FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS = 5.0, 600.0

#: Of the story of a submission whose attempts are spent: so many attempts of its begin and as many
#: of its end are told.
N_TOLD = 3
#: The longest reason in it, in characters.
MAX_REASON_LENGTH = 300


def retry_delay_seconds(n_crashes: int) -> float:
    """Give how long a submission waits after its n-th crash, in seconds."""
    return min(FIRST_DELAY_SECONDS * 4.0 ** min(n_crashes - 1, 10), LONGEST_DELAY_SECONDS)


def crash(
    session: Session,
    claim: Claim,
    reason: str,
    max_attempts: int,
    provenance: Provenance | None = None,
) -> State:
    """Record that the platform failed: counted, and tried again after a delay that grows.

    Parameters
    ----------
    session : Session
    claim : Claim
    reason : str
        What happened.
    max_attempts : int
        With so many crashes the submission ends as checking_error, whose error tells the story of
        all its attempts.
    provenance : Provenance, optional
        What the attempt was evaluated with, where it came so far.

    Returns
    -------
    State
        new, checking_error, or canceled when that was asked for.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    """
    return give_up(
        session,
        held(session, claim),
        reason,
        max_attempts,
        dispatcher_id=claim.dispatcher_id,
        provenance=provenance,
    )


def give_up(
    session: Session,
    standing: Standing,
    reason: str,
    max_attempts: int,
    *,
    dispatcher_id: int,
    provenance: Provenance | None = None,
) -> State:
    """Count a crash of an attempt, on behalf of a dispatcher: its owner or its rescuer."""
    number = standing.attempt
    end_attempt(session, standing.id, number, "crashed", shortened(reason), provenance)
    n_crashes = standing.n_crashes + 1
    return _return(
        session,
        standing,
        reason=reason,
        by=dispatcher_id,
        outcome="crashed",
        n_crashes=n_crashes,
        is_last=n_crashes >= max_attempts,
        delay_seconds=retry_delay_seconds(n_crashes),
    )


def release(
    session: Session,
    claim: Claim,
    reason: str,
    max_interruptions: int = MAX_INTERRUPTIONS,
    *,
    is_delayed: bool = False,
    provenance: Provenance | None = None,
) -> State:
    """Give a submission back, as at a shutdown or when a node is reclaimed: not counted as a crash.

    Parameters
    ----------
    session : Session
    claim : Claim
    reason : str
        What happened.
    max_interruptions : int
        With more than so many the submission ends as checking_error. Those with a delay that came
        before its folds began never end it, and only count up to half of that: it may wait for
        room as long as it takes, such as for the next day's budget.
    is_delayed : bool
        Whether it waits before it is tried again, as when there was no room for it.
    provenance : Provenance, optional
        As for `crash`.

    Returns
    -------
    State
        new, checking_error, or canceled when that was asked for.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    """
    standing = held(session, claim)
    number = standing.attempt
    end_attempt(session, standing.id, number, "interrupted", shortened(reason), provenance)
    n_interruptions = standing.n_interruptions + 1
    waits_for_room = is_delayed and standing.state is State.SENT_TO_TRAINING
    if waits_for_room and n_interruptions > max_interruptions // 2:
        n_interruptions = standing.n_interruptions
    return _return(
        session,
        standing,
        reason=reason,
        by=claim.dispatcher_id,
        outcome="interrupted",
        n_interruptions=n_interruptions,
        is_last=n_interruptions > max_interruptions and not waits_for_room,
        delay_seconds=retry_delay_seconds(n_interruptions) if is_delayed else None,
    )


def acknowledge_cancel(
    session: Session, claim: Claim, provenance: Provenance | None = None
) -> None:
    """Record that a run was ended because that was asked for: canceled.

    Parameters
    ----------
    session : Session
    claim : Claim
    provenance : Provenance, optional
        As for `crash`.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    """
    standing = held(session, claim)
    reason = standing.cancel_reason
    end_attempt(session, standing.id, standing.attempt, "canceled", reason, provenance)
    _cancel(session, standing, by=claim.dispatcher_id)


def _return(
    session: Session,
    standing: Standing,
    *,
    reason: str,
    by: int,
    outcome: str,
    is_last: bool,
    delay_seconds: float | None = None,
    **counts: int,
) -> State:
    if standing.cancel_requested_at is not None:
        _cancel(session, standing, by=by)
        return State.CANCELED
    values = RELEASED | counts | {"outcome": outcome, "reason": reason, "by": by}
    if is_last:
        values["error"] = _story(session, standing)
        move_read(session, standing, State.CHECKING_ERROR, **values)
        return State.CHECKING_ERROR
    values["not_before"] = None if delay_seconds is None else clock.now(delay_seconds)
    move_read(session, standing, State.NEW, **values)
    return State.NEW


def _cancel(session: Session, standing: Standing, *, by: int) -> None:
    reason = standing.cancel_reason or "canceled"
    values = RELEASED | {"error": reason, "outcome": "canceled", "reason": reason, "by": by}
    move_read(session, standing, State.CANCELED, **values)


def _story(session: Session, standing: Standing) -> str:
    query = select(Attempt).where(Attempt.submission_id == standing.id).order_by(Attempt.number)
    attempts = session.scalars(query.execution_options(populate_existing=True)).all()
    reasons = [_first_line(one.error or "") or "no reason known" for one in attempts]
    told = [
        f"attempt {one.number} {one.outcome or 'ended'}: {reason}"
        for one, reason in zip(attempts, reasons, strict=True)
    ]
    if len(told) > 2 * N_TOLD:
        told[N_TOLD:-N_TOLD] = [f"[... {len(told) - 2 * N_TOLD} attempts left out ...]"]
    first = f"The platform failed, not your code: {reasons[-1]}"
    done = "Its attempts are spent; the organisers mend it and have it evaluated again"
    last = f"{done} (`ramp retry {standing.id}`). There is nothing for you to do."
    return shortened("\n".join([first, *told, last]))


def _first_line(text: str) -> str:
    """Give the first line of a reason; `ramp explain` tells it whole."""
    return text.strip().partition("\n")[0][:MAX_REASON_LENGTH]
