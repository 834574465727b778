"""Problems and events: deploying, finding, deleting."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Self

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from ramp_database import clock, ranking
from ramp_database.errors import DatabaseError, NotFoundError
from ramp_database.insertion import insert_named
from ramp_database.limits import EventLimits
from ramp_database.model import Dispatcher, Event, Fold, Problem, ScoreType, Submission
from ramp_database.numbers import finite


@dataclass(frozen=True)
class ScoreTypeSpec:
    """A measure of an event."""

    name: str
    precision: int  #: digits after the point in tables
    is_lower_the_better: bool
    minimum: float | None = None  #: None for no bound
    maximum: float | None = None  #: None for no bound

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what the prepare step tells; infinite bounds become None."""
        return cls(
            name=str(value["name"]),
            precision=int(value["precision"]),
            is_lower_the_better=bool(value["is_lower_the_better"]),
            minimum=finite(value.get("minimum")),
            maximum=finite(value.get("maximum")),
        )


@dataclass(frozen=True)
class FoldSpec:
    """A fold of an event."""

    n_train: int  #: rows to train on
    n_valid: int  #: rows to validate on
    indices: bytes  #: content of ``folds/fold_<i>.npz``


@dataclass(frozen=True)
class EventSpec:
    """What deploying finds out about an event."""

    title: str
    is_public: bool
    config_path: str  #: the event's config.yml
    score_types: tuple[ScoreTypeSpec, ...]  #: the first is the official one
    folds: tuple[FoldSpec, ...]  #: in their order
    n_train: int  #: rows of the training data
    n_test: int | None  #: rows of the test data, None without test labels
    bundle_hash: str
    kit_hash: str
    data_hash: str
    folds_hash: str
    environment_hash: str
    required_files: tuple[str, ...] = ()
    data_label: str | None = None
    limits: EventLimits = field(default_factory=EventLimits)

    def columns(self) -> dict[str, Any]:
        """Give the values of the columns of `Event` that this sets."""
        nested = {"score_types", "folds", "required_files", "limits"}
        values = {name: value for name, value in vars(self).items() if name not in nested}
        values |= vars(self.limits)
        return values | {"required_files": list(self.required_files), "n_folds": len(self.folds)}


def identity(event: Event) -> str:
    """Name the deployment of an event as no other is named, whatever the database.

    It stays as long as the event's row does, also when the event is deployed again.

    Returns
    -------
    str
        16 hexadecimal digits: a hash of number, name and time of creation.
    """
    created_at = event.created_at.astimezone(UTC).isoformat(timespec="milliseconds")
    facts = f"{event.id}\0{event.name}\0{created_at}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


def ensure_problem(session: Session, name: str, title: str = "") -> Problem:
    """Find a problem, or add it.

    Parameters
    ----------
    session : Session
    name : str
    title : str
        Set in either case, unless it is empty.
    """
    problem = session.scalar(select(Problem).where(Problem.name == name))
    if problem is None:
        problem = Problem(name=name, title=title or name)
        insert_named(session, problem, "problem", name)
    elif title:
        problem.title = title
    return problem


def add_event(session: Session, name: str, problem_name: str, spec: EventSpec) -> Event:
    """Add an event.

    Parameters
    ----------
    session : Session
    name, problem_name : str
        The problem is added when it is not there; see `ensure_problem`.
    spec : EventSpec

    Raises
    ------
    AlreadyExistsError
        The name is taken.
    DatabaseError
        There are no score types, or no folds.
    """
    _check(name, spec)
    problem = ensure_problem(session, problem_name)
    event = Event(
        name=name, problem=problem, created_at=clock.read(session), score_types=[], **spec.columns()
    )
    insert_named(session, event, "event", name, "Deploy it again with --force, or delete it")
    _write_score_types(session, event, spec)
    _write_folds(session, event, spec)
    return event


def update_event(session: Session, name: str, spec: EventSpec) -> Event:
    """Bring an event up to a new deployment; its submissions and their scores stay.

    Score types are told apart by their names: one that is gone takes its scores with it, and when
    the official one changes, the leaderboards are ordered anew.

    Parameters
    ----------
    session : Session
    name : str
    spec : EventSpec

    Raises
    ------
    NotFoundError
        There is no such event.
    DatabaseError
        There are no score types, or no folds.
    """
    _check(name, spec)
    event = get_event(session, name)
    for column, value in spec.columns().items():
        setattr(event, column, value)
    _write_score_types(session, event, spec)
    session.execute(delete(Fold).where(Fold.event_id == event.id))
    _write_folds(session, event, spec)
    ranking.reorder(session, event.id, event.score_types[0])
    return event


def set_limits(session: Session, name: str, limits: EventLimits) -> None:
    """Set the limits of an event; submissions that there are stay.

    Raises
    ------
    NotFoundError
        There is no such event.
    """
    event = get_event(session, name)
    for column, value in vars(limits).items():
        setattr(event, column, value)
    session.flush()


def _check(name: str, spec: EventSpec) -> None:
    if not spec.score_types or not spec.folds:
        missing = "folds" if spec.score_types else "score types"
        raise DatabaseError(f"the event {name!r} has no {missing}: check its problem.py")


def _write_score_types(session: Session, event: Event, spec: EventSpec) -> None:
    known = {row.name: row for row in event.score_types}
    for gone in known.keys() - {one.name for one in spec.score_types}:
        session.delete(known.pop(gone))
    for position, row in enumerate(known.values(), start=1):
        row.position = -position  # out of the way of the positions that follow
    session.flush()
    for position, one in enumerate(spec.score_types):
        row = known.get(one.name) or ScoreType(event_id=event.id)
        for column, value in vars(one).items():
            setattr(row, column, value)
        row.position = position
        session.add(row)
    session.flush()
    session.refresh(event, ["score_types"])


def _write_folds(session: Session, event: Event, spec: EventSpec) -> None:
    rows = [
        {"event_id": event.id, "number": number, **vars(fold)}
        for number, fold in enumerate(spec.folds)
    ]
    session.execute(insert(Fold), rows)


def get_event(session: Session, name: str) -> Event:
    """Find an event.

    Raises
    ------
    NotFoundError
        There is none of that name.
    """
    query = select(Event).where(Event.name == name)
    event = session.scalar(query.execution_options(populate_existing=True))
    if event is None:
        known = session.scalars(select(Event.name).order_by(Event.name)).all()
        raise NotFoundError("event", name, known, "Deploy it with `ramp setup deploy-event`")
    return event


def list_events(session: Session) -> list[Event]:
    """List the events by name."""
    return list(session.scalars(select(Event).order_by(Event.name)))


def folds(session: Session, event_id: int) -> list[bytes]:
    """Give the contents of the ``fold_<i>.npz`` of an event, in their order."""
    query = select(Fold.indices).where(Fold.event_id == event_id).order_by(Fold.number)
    return list(session.scalars(query))


def delete_event(session: Session, name: str) -> None:
    """Delete an event with its submissions, scores and dispatchers; the teams stay.

    Raises
    ------
    NotFoundError
        There is no such event.
    """
    event = get_event(session, name)
    for table in (Submission, Dispatcher):
        session.execute(
            delete(table).where(table.event_id == event.id),
            execution_options={"synchronize_session": False},
        )
    session.execute(delete(Event).where(Event.id == event.id))
