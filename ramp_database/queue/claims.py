"""What a dispatcher does with a submission that goes its way: claim, start, finish, score, fail."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from sqlalchemy import CTE, ColumnElement, Integer, Update, bindparam, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from ramp_database import clock
from ramp_database import results as results_
from ramp_database.errors import ClaimLostError
from ramp_database.model import Attempt, Dispatcher, Submission, Team
from ramp_database.partial import PartialScores
from ramp_database.provenance import Provenance
from ramp_database.queue.transitions import (
    RELEASED,
    Claim,
    Step,
    end_attempt,
    held,
    move_claimed,
    record,
    refusal,
    shortened,
)
from ramp_database.queue.turns import by_turn, turns
from ramp_database.results import Results
from ramp_database.statements import count_changed, insert_rows
from ramp_database.states import PARTICIPANT_ERRORS, State

#: So many more are looked at than there are slots: others may hold locks on some.
_N_SPARE = 16


def claim(session: Session, event_id: int, dispatcher_id: int, limit: int) -> list[Claim]:
    """Claim waiting submissions, the teams in turn: new to sent_to_training.

    Parameters
    ----------
    session : Session
    event_id : int
    dispatcher_id : int
        The new owner; one that has ended gets nothing.
    limit : int
        The most to be claimed: the number of free slots.

    Returns
    -------
    list of Claim
        The oldest first.

    Notes
    -----
    One statement when nothing waits, three otherwise. Its cost grows with the number of teams that
    wait, and neither with what has ended nor with what else waits.
    Two that claim at once never get the same submission: the UPDATE looks at the state again; SKIP
    LOCKED, which SQLite neither has nor needs, spares them from waiting for each other.
    """
    if limit < 1:
        return []
    values = {"the_event": event_id, "the_dispatcher": dispatcher_id, "n_free": limit}
    options = {"synchronize_session": False}
    rows = session.execute(_claiming(), values, execution_options=options)
    claims = [
        Claim(id_, attempt, dispatcher_id, team, name)
        for _, id_, attempt, team, name in sorted(rows)
    ]
    if claims:
        _record_claims(session, claims)
    return claims


@cache
def _claiming() -> ReturningUpdate[datetime, int, int, str, str]:
    """Make the statement that claims, once: that takes as long as the database needs for it."""
    dispatcher_id = bindparam("the_dispatcher", type_=Integer)
    next_ones = _next(dispatcher_id)
    team = select(Team.name).where(Team.id == Submission.team_id).scalar_subquery()
    return (
        update(Submission)
        .where(Submission.id.in_(select(next_ones.c.id)), Submission.state == State.NEW)
        .values(
            state=State.SENT_TO_TRAINING,
            attempt=Submission.attempt + 1,
            dispatcher_id=dispatcher_id,
            claimed_at=clock.now(),
            not_before=None,
        )
        .returning(
            Submission.submitted_at, Submission.id, Submission.attempt, team, Submission.name
        )
    )


def _next(dispatcher_id: ColumnElement[int]) -> CTE:
    """Give those whose turn it is, locked where the database knows that."""
    n_free = bindparam("n_free", type_=Integer)
    ordered = turns(bindparam("the_event", type_=Integer), n_first=n_free + _N_SPARE)
    return (
        select(Submission.id)
        .join(ordered, ordered.c.id == Submission.id)
        .where(Submission.state == State.NEW, _is_live(dispatcher_id))
        .order_by(*by_turn(ordered))
        .limit(n_free)
        .with_for_update(skip_locked=True, of=Submission)
        .cte("next_ones")
    )


def _is_live(dispatcher_id: ColumnElement[int]) -> ColumnElement[bool]:
    return (
        select(Dispatcher.id)
        .where(Dispatcher.id == dispatcher_id, Dispatcher.ended_at.is_(None))
        .exists()
    )


def _record_claims(session: Session, claims: list[Claim]) -> None:
    attempts = [
        {
            "submission_id": claim.submission_id,
            "number": claim.attempt,
            "dispatcher_id": claim.dispatcher_id,
        }
        for claim in claims
    ]
    insert_rows(session, Attempt, attempts, now_in="claimed_at")
    record(
        session,
        [
            Step(
                claim.submission_id,
                State.NEW,
                State.SENT_TO_TRAINING,
                claim.attempt,
                claim.dispatcher_id,
                "claimed",
            )
            for claim in claims
        ],
    )


def start(
    session: Session,
    claim: Claim,
    handle: str | None = None,
    bundle_hash: str | None = None,
    reason: str = "started",
    confinement: str | None = None,
) -> None:
    """Record that the folds start, before they do: sent_to_training to training.

    Parameters
    ----------
    session : Session
    claim : Claim
    handle : str, optional
        By which another dispatcher can find the run again.
    bundle_hash : str, optional
        Name of the bundle that the folds are trained with.
    reason : str
        For the history: how the folds run.
    confinement : str, optional
        How the submission is confined, such as ``namespaces``.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        The submission is in another state.
    """
    move_claimed(session, claim, State.SENT_TO_TRAINING, State.TRAINING, reason=reason)
    values = {} if handle is None else {"handle": handle, "bundle_hash": bundle_hash}
    values |= {} if confinement is None else {"confinement": confinement}
    if values:
        token = {"the_submission": claim.submission_id, "the_number": claim.attempt}
        parameters = token | {f"new_{name}": value for name, value in values.items()}
        count_changed(session, _noting(tuple(values)), parameters)


@cache
def _noting(columns: tuple[str, ...]) -> Update:
    """Make the statement that notes something of an attempt."""
    return (
        update(Attempt)
        .where(Attempt.submission_id == bindparam("the_submission"))
        .where(Attempt.number == bindparam("the_number"))
        .values({name: bindparam(f"new_{name}") for name in columns})
    )


def note_partial(session: Session, claim: Claim, partial: PartialScores) -> None:
    """Record the public scores of the folds that are done, in place of those noted before.

    They are there for as long as the attempt is under way, and nothing ranks them.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        The submission is not in training.

    Notes
    -----
    Two statements.
    """
    standing = held(session, claim)
    if standing.state is not State.TRAINING:
        hint = "Only folds that run have partial scores"
        raise refusal(claim.submission_id, standing.state, State.TRAINING, hint)
    statement = update(Attempt).where(
        Attempt.submission_id == claim.submission_id, Attempt.number == claim.attempt
    )
    count_changed(session, statement.values(partial=partial.to_json()))


def finish(session: Session, claim: Claim) -> str:
    """Record that the predictions are there: training to tested.

    Returns
    -------
    str
        Name of the bundle of the event as it is deployed now.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        The submission is in another state.
    """
    reason = "predictions collected"
    return move_claimed(session, claim, State.TRAINING, State.TESTED, reason=reason)


def score(
    session: Session, claim: Claim, results: Results, provenance: Provenance | None = None
) -> None:
    """Record the results: tested to scored, with all rows of the results.

    Parameters
    ----------
    session : Session
    claim : Claim
    results : Results
    provenance : Provenance, optional
        What the attempt was evaluated with.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        The submission is in another state.
    DatabaseError
        The score types are not those of the event.

    Notes
    -----
    Eight round trips, whatever the number of folds.
    """
    kinds = results_.score_types(session, claim.submission_id)
    if not kinds:  # the event was deleted
        raise ClaimLostError(claim.submission_id, claim.attempt)
    columns = RELEASED | {"error": None, "outcome": "succeeded"}
    columns |= results_.summary(kinds, results)
    move_claimed(session, claim, State.TESTED, State.SCORED, reason="scored", **columns)
    results_.store(session, claim.submission_id, kinds, results)
    end_attempt(session, claim.submission_id, claim.attempt, "succeeded", None, provenance)


def fail(
    session: Session,
    claim: Claim,
    state: State,
    error: str,
    outcome: str,
    provenance: Provenance | None = None,
) -> None:
    """Record that the participant's code failed; that is final.

    Parameters
    ----------
    session : Session
    claim : Claim
    state : State
        training_error, validating_error or testing_error.
    error : str
        What failed, for the participant.
    outcome : str
        The verdict, such as ``failed`` or ``timed_out``.
    provenance : Provenance, optional
        What the attempt was evaluated with.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        The state is no failure of a participant's.
    """
    standing = held(session, claim)
    if state not in PARTICIPANT_ERRORS:
        hint = "Only the participant's code fails; the platform crashes"
        raise refusal(claim.submission_id, standing.state, state, hint)
    error = shortened(error)
    values = RELEASED | {"error": error, "outcome": outcome, "reason": outcome}
    move_claimed(session, claim, standing.state, state, **values)
    end_attempt(session, claim.submission_id, claim.attempt, outcome, error, provenance)
