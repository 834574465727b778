"""Taking back what dead dispatchers left behind."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, select, update
from sqlalchemy.orm import Session, aliased

from ramp_database import clock
from ramp_database.model import Dispatcher, Submission
from ramp_database.queue.adopting import Adopted, adopt, take_over
from ramp_database.queue.returning import MAX_INTERRUPTIONS, give_up
from ramp_database.queue.transitions import Claim, Standing, read_standings
from ramp_database.states import OWNED, State


@dataclass(frozen=True)
class Rescued:
    """What a dispatcher took back from dead ones."""

    requeued: tuple[
        int, ...
    ] = ()  #: submissions that are evaluated again, or whose attempts are spent
    to_score: tuple[Claim, ...] = ()  #: the rescuer's own by now; their predictions are published
    ended: tuple[int, ...] = ()  #: dispatchers that were found stale
    adopted: tuple[Adopted, ...] = ()  #: the rescuer's own by now; their runs go on


def rescue(
    session: Session,
    event_id: int,
    dispatcher_id: int,
    stale_after_seconds: float,
    max_attempts: int,
    *,
    is_adopting: bool = False,
) -> Rescued:
    """End the stale dispatchers of an event, and take back what ended ones still own.

    What was to be trained is counted as a crash of ours and waits again. What is tested
    changes its owner: its predictions are there, and only the score step is left. So does a run
    that outlives its dispatcher, which has a handle.

    Parameters
    ----------
    session : Session
    event_id : int
    dispatcher_id : int
        The rescuer.
    stale_after_seconds : float
        A heartbeat older than that, by the database's clock, is stale. Only a
        rescuer whose own has had no gap for as long finds others stale: after an outage of the
        database everyone looks dead, and nobody robs anybody.
    max_attempts : int
        See `crash`.
    is_adopting : bool
        Whether the rescuer's workers can take over a run by its handle.

    Notes
    -----
    Two statements when there is nothing to do. What another rescuer has locked is left to it.
    """
    ended = _end_stale(session, event_id, dispatcher_id, stale_after_seconds)
    requeued: list[int] = []
    to_score: list[Claim] = []
    adopted: list[Adopted] = []
    for standing in _abandoned(session, event_id, dispatcher_id):
        reason = f"dispatcher {standing.dispatcher_id} ended while it owned the submission"
        may_live = is_adopting and _may_live(standing)
        run = adopt(session, standing, dispatcher_id, reason) if may_live else None
        if run is not None:
            adopted.append(run)
        elif _is_scored_next(standing, max_attempts):
            to_score.append(_take_over(session, standing, dispatcher_id, reason))
        else:
            give_up(session, standing, reason, max_attempts, dispatcher_id=dispatcher_id)
            requeued.append(standing.id)
    return Rescued(tuple(requeued), tuple(to_score), ended, tuple(adopted))


def _may_live(standing: Standing) -> bool:
    """Tell whether a run may be adopted: also one to be canceled, which somebody has to end."""
    return standing.state is State.TRAINING and standing.n_interruptions < MAX_INTERRUPTIONS


def _is_scored_next(standing: Standing, max_attempts: int) -> bool:
    is_wanted = standing.state is State.TESTED and standing.cancel_requested_at is None
    return is_wanted and standing.n_crashes + 1 < max_attempts


def _end_stale(
    session: Session, event_id: int, dispatcher_id: int, stale_after_seconds: float
) -> tuple[int, ...]:
    earliest = clock.now(-stale_after_seconds)
    rescuer = aliased(Dispatcher)
    is_steady = (
        select(rescuer.id)
        .where(rescuer.id == dispatcher_id, rescuer.ended_at.is_(None))
        .where(rescuer.beat_at >= earliest, rescuer.steady_since <= earliest)
        .exists()
    )
    is_stale = (Dispatcher.ended_at.is_(None), Dispatcher.beat_at < earliest)
    # who is paused within a transaction holds its row: it is not waited for
    stale = (
        select(Dispatcher.id)
        .where(Dispatcher.event_id == event_id, Dispatcher.id != dispatcher_id)
        .where(*is_stale, is_steady)
        .with_for_update(skip_locked=True)
    )
    statement = (
        update(Dispatcher)
        .where(Dispatcher.id.in_(stale), *is_stale)
        .values(ended_at=clock.now(), ended_reason=f"stale: ended by dispatcher {dispatcher_id}")
        .returning(Dispatcher.id)
    )
    rows = session.execute(statement, execution_options={"synchronize_session": False})
    return tuple(sorted(rows.scalars()))


def _abandoned(session: Session, event_id: int, dispatcher_id: int) -> list[Standing]:
    ended = select(Dispatcher.id).where(
        Dispatcher.event_id == event_id, Dispatcher.ended_at.is_not(None)
    )
    where: list[ColumnElement[bool]] = [
        Submission.event_id == event_id,
        Submission.state.in_(OWNED),
        Submission.dispatcher_id.in_(ended),
        select(Dispatcher.id)
        .where(Dispatcher.id == dispatcher_id, Dispatcher.ended_at.is_(None))
        .exists(),
    ]
    return list(read_standings(session, *where, skip_locked=True))


def _take_over(session: Session, standing: Standing, dispatcher_id: int, reason: str) -> Claim:
    """Make the rescuer the owner; the attempt goes on."""
    n_crashes = standing.n_crashes + 1
    take_over(session, standing, dispatcher_id, f"rescued: {reason}", n_crashes=n_crashes)
    return Claim(standing.id, standing.attempt, dispatcher_id)
