"""The guarded writes that every operation of the queue is made of."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, NoReturn, cast

from sqlalchemy import ColumnElement, Select, Table, Update, bindparam, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.dml import ReturningUpdate

from ramp_database import changes, clock
from ramp_database.attempts import folds_started_at
from ramp_database.errors import ClaimLostError, NotFoundError, TransitionError
from ramp_database.model import Attempt, Event, Submission, SubmissionEvent
from ramp_database.provenance import Provenance
from ramp_database.queue.compute import add_compute
from ramp_database.queue.counting import count_end
from ramp_database.statements import count_changed, insert_rows
from ramp_database.states import OWNED, TRANSITIONS, State

#: Why a submission came, where its team submitted it.
SUBMITTED = "submitted"
#: The longest text of an error that is stored, in characters; its middle is left out.
MAX_ERROR_LENGTH = 50_000


@dataclass(frozen=True)
class Claim:
    """A dispatcher's right to a submission: the token for every write about the attempt."""

    submission_id: int
    attempt: int  #: from 1
    dispatcher_id: int  #: the owner
    #: Whose it is and its name, for people; None where they were not read. No part of the token.
    team: str | None = field(default=None, compare=False)
    name: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Standing:
    """Where a submission stands, read under a lock."""

    id: int
    state: State
    attempt: int
    dispatcher_id: int | None
    n_crashes: int
    n_interruptions: int
    cancel_requested_at: datetime | None
    cancel_reason: str | None


@dataclass(frozen=True)
class Step:
    """A step to be written into the history."""

    submission_id: int
    source: State | None  #: None for the first
    target: State
    attempt: int
    dispatcher_id: int | None = None
    reason: str | None = None


#: Outcomes that are not of the team's doing.
_OURS = frozenset({"crashed", "interrupted"})

#: What leaves the hands of a dispatcher.
RELEASED: dict[str, Any] = {
    "dispatcher_id": None,
    "cancel_requested_at": None,
    "cancel_reason": None,
}


def shortened(text: str) -> str:
    """Leave out the middle of a text that is too long to be stored."""
    if len(text) <= MAX_ERROR_LENGTH:
        return text
    half = MAX_ERROR_LENGTH // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"


def read_standing(session: Session, submission_id: int) -> Standing:
    """Read where a submission stands, and keep others from changing it until the transaction ends.

    Raises
    ------
    NotFoundError
        There is no such submission.
    """
    found = list(read_standings(session, Submission.id == submission_id))
    if not found:
        raise NotFoundError("submission", submission_id)
    return found[0]


def read_standings(
    session: Session, *where: ColumnElement[bool], skip_locked: bool = False
) -> Iterable[Standing]:
    """Read where submissions stand, under locks; those locked by others can be left out."""
    columns = [getattr(Submission, name) for name in Standing.__dataclass_fields__]
    query: Select[Any] = select(*columns).where(*where).order_by(Submission.id)
    rows = session.execute(query.with_for_update(skip_locked=skip_locked, of=Submission))
    return [Standing(*row) for row in rows]


def held(session: Session, claim: Claim) -> Standing:
    """Read where a claimed submission stands, under a lock.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    """
    found = list(read_standings(session, *_token(claim), Submission.state.in_(OWNED)))
    if not found:
        raise ClaimLostError(claim.submission_id, claim.attempt)
    return found[0]


def move_claimed(
    session: Session, claim: Claim, source: State, target: State, **values: Any
) -> str:
    """Take a claimed submission from one state to another, if the claim and the state hold.

    Parameters
    ----------
    session : Session
    claim : Claim
    source, target : State
    **values
        Other columns that change; ``reason`` goes into the history.

    Returns
    -------
    str
        Name of the bundle of the event as it is deployed now.

    Raises
    ------
    ClaimLostError
        The claim does not hold any more.
    TransitionError
        It holds, but the submission is in another state, or there is no such transition.
    """
    reason = values.pop("reason", None)
    check_transition(claim.submission_id, source, target)
    values["state"] = target
    id_, attempt, owner = claim.submission_id, claim.attempt, claim.dispatcher_id
    token = {"the_id": id_, "the_attempt": attempt, "the_owner": owner, "the_source": source}
    moved: str | None = session.scalar(
        _moving(tuple(sorted(values))),
        token | {f"new_{name}": value for name, value in values.items()},
    )
    if moved is None:
        _refuse(session, claim, target)
    record(session, [Step(id_, source, target, attempt, owner, reason)])
    return moved


@cache
def _moving(columns: tuple[str, ...]) -> ReturningUpdate[str]:
    """Make the statement that moves what is claimed, and sets these columns."""
    table = cast("Table", Submission.__table__)
    bundle = select(Event.bundle_hash).where(Event.id == table.c.event_id).scalar_subquery()
    return (
        update(table)
        .where(table.c.id == bindparam("the_id"))
        .where(table.c.dispatcher_id == bindparam("the_owner"))
        .where(table.c.attempt == bindparam("the_attempt"))
        .where(table.c.state == bindparam("the_source"))
        .values({name: bindparam(f"new_{name}") for name in columns})
        .returning(bundle)
    )


def move_read(session: Session, standing: Standing, target: State, **values: Any) -> None:
    """Take a submission, claimed or not, from the state in which it was read to another.

    Raises
    ------
    TransitionError
        There is no such transition, or the submission has moved on since it was read.
    """
    reason, by = values.pop("reason", None), values.pop("by", None)
    check_transition(standing.id, standing.state, target)
    statement = update(Submission).where(
        Submission.id == standing.id,
        Submission.state == standing.state,
        Submission.attempt == standing.attempt,
        Submission.dispatcher_id.is_not_distinct_from(standing.dispatcher_id),
    )
    if count_changed(session, statement.values(state=target, **values)) != 1:
        raise refusal(standing.id, standing.state, target, "It moved on; look again")
    step = Step(standing.id, standing.state, target, standing.attempt, by, reason)
    record(session, [step])


def check_transition(submission_id: int, source: State, target: State) -> None:
    """Check that there is such a transition.

    Raises
    ------
    TransitionError
        There is not.
    """
    if target not in TRANSITIONS[source]:
        allowed = ", ".join(sorted(TRANSITIONS[source]))
        raise refusal(submission_id, source, target, f"From there it goes to: {allowed}")


def refusal(submission_id: int, source: State, target: State, hint: str = "") -> TransitionError:
    """Make the error of a transition that there is not, or not now."""
    return TransitionError(submission_id, source.value, target.value, hint)


def record(session: Session, steps: Collection[Step]) -> None:
    """Append steps to the history, in one statement; announce those that make work."""
    rows = [
        {
            "submission_id": step.submission_id,
            "from_state": step.source,
            "to_state": step.target,
            "attempt": step.attempt,
            "dispatcher_id": step.dispatcher_id,
            "reason": step.reason,
        }
        for step in steps
    ]
    insert_rows(session, SubmissionEvent, rows, now_in="at")
    for step in steps:
        count_end(session, step.submission_id, step.source, step.target, step.dispatcher_id)
    announced = [step for step in steps if changes.is_announced(step.target, step.dispatcher_id)]
    changes.announce(session, [step.submission_id for step in announced])


def record_arrival(session: Session, submission_id: int, reason: str = SUBMITTED) -> None:
    """Append the first step of a new submission to its history."""
    record(session, [Step(submission_id, None, State.NEW, 0, reason=reason)])


def end_attempt(
    session: Session,
    submission_id: int,
    number: int,
    outcome: str,
    error: str | None = None,
    provenance: Provenance | None = None,
) -> None:
    """Write the verdict on an attempt; what it took is added to its team's unless we failed.

    Its partial scores end with it.
    """
    values = {
        "the_submission": submission_id,
        "the_number": number,
        "new_outcome": outcome,
        "new_error": error,
        "new_provenance": provenance and provenance.to_json(),
    }
    count_changed(session, _ending(), values)
    if outcome not in _OURS:
        add_compute(session, submission_id, number)


@cache
def _ending() -> Update:
    return (
        update(Attempt)
        .where(Attempt.submission_id == bindparam("the_submission"))
        .where(Attempt.number == bindparam("the_number"))
        .values(
            started_at=folds_started_at(),
            finished_at=clock.now(),
            outcome=bindparam("new_outcome"),
            error=bindparam("new_error"),
            provenance=bindparam("new_provenance"),
            partial=None,
        )
    )


def _token(claim: Claim) -> tuple[ColumnElement[bool], ...]:
    return (
        Submission.id == claim.submission_id,
        Submission.dispatcher_id == claim.dispatcher_id,
        Submission.attempt == claim.attempt,
    )


def _refuse(session: Session, claim: Claim, target: State) -> NoReturn:
    standing = held(session, claim)
    raise refusal(claim.submission_id, standing.state, target)
