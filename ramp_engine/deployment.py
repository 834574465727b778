"""Deploy an event: its data made, its folds drawn, its bundle made, all of it recorded."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ramp_database import events
from ramp_database.events import EventSpec, FoldSpec, ScoreTypeSpec
from ramp_database.limits import EventLimits, differences
from ramp_database.model import Event
from ramp_database.session import Database
from ramp_engine.bundles import hides_labels
from ramp_engine.config import EventConfig
from ramp_engine.errors import AlreadyExistsError, NotFoundError
from ramp_engine.preparation import PrepareResult, prepare_data, run_prepare, trusted_python

__all__ = ["Deployed", "deploy"]

#: What may change between two deployments: the column, and what people call it.
_PARTS = {
    "kit_hash": "the kit",
    "data_hash": "the data",
    "environment_hash": "the packages of its environment",
    "config_path": "the place of its config.yml",
    "title": "event_title",
    "is_public": "event_is_public",
    "data_label": "data_label",
}
#: The limits, and their keys in the section `ramp`.
_LIMITS = {
    "opening_at": "opening_timestamp",
    "closing_at": "closing_timestamp",
    "max_submissions_per_day": "max_submissions_per_day",
    "min_seconds_between_submissions": "min_duration_between_submissions",
    "max_submission_mb": "max_submission_mb",
    "fair_share_window_hours": "fair_share_window_hours",
}


@dataclass(frozen=True)
class Deployed:
    """What was done."""

    prepared: PrepareResult
    is_new: bool  #: whether the event was not deployed before
    changes: tuple[str, ...] = ()  #: what has changed since it was, in words
    has_new_folds: bool = True  #: whether its folds were drawn just now
    limit_changes: tuple[str, ...] = ()  #: keys of limits that were changed; these need no force
    lost_score_types: tuple[str, ...] = ()  #: they are gone from the kit, and their scores too


@dataclass(frozen=True)
class _Stored:
    """What the database holds of the event."""

    problem_name: str
    columns: dict[str, object]
    score_types: tuple[str, ...]
    folds: tuple[bytes, ...]
    limits: EventLimits
    hides_labels: bool


def deploy(
    database: Database,
    event: EventConfig,
    *,
    is_forced: bool = False,
    is_drawing_folds: bool = False,
) -> Deployed:
    """Deploy an event, or deploy it again.

    Parameters
    ----------
    database : Database
    event : EventConfig
    is_forced : bool
        Whether to deploy again what has changed since. Submissions and their scores stay.
    is_drawing_folds : bool
        Whether the kit draws its folds anew, also where those that are stored would do.

    Returns
    -------
    Deployed
        Not new and without changes: nothing had to be done. Changed limits alone need no force.

    Raises
    ------
    AlreadyExistsError
        It is deployed, something has changed, and `is_forced` is false; or it is deployed for
        another problem.
    EvaluationError
        Kit or data are at fault.
    WorkerSetupError
        The event's environment is missing.

    Notes
    -----
    The folds stay as they were drawn first, for scores to be comparable, unless the data change.
    May be called again after a failure, whatever was done until then.
    """
    trusted_python(event)
    stored = _stored(database, event)
    prepare_data(event)
    prepared = _prepare(event, None if is_drawing_folds else stored)
    spec = _spec(event, prepared)
    if stored is None:
        _add(database, event, prepared, spec)
        return Deployed(prepared, is_new=True)
    deployed = _compared(prepared, spec, stored)
    if deployed.changes and not is_forced:
        raise _changed(event, deployed)
    if deployed.changes:
        with database.session() as session:
            events.ensure_problem(session, event.ramp.problem_name, prepared.problem_title)
            events.update_event(session, event.ramp.event_name, spec)
    elif deployed.limit_changes:
        with database.session() as session:
            events.set_limits(session, event.ramp.event_name, spec.limits)
    return deployed


def _stored(database: Database, event: EventConfig) -> _Stored | None:
    with database.session(read_only=True) as session:
        try:
            row = events.get_event(session, event.ramp.event_name)
        except NotFoundError:
            return None
        stored = _of_row(row, tuple(events.folds(session, row.id)))
    if stored.problem_name != event.ramp.problem_name:
        hint = f"It belongs to the problem {stored.problem_name!r}; give this one another name"
        raise AlreadyExistsError("event", event.ramp.event_name, hint)
    return stored


def _of_row(row: Event, folds: tuple[bytes, ...]) -> _Stored:
    columns = {name: getattr(row, name) for name in (*_PARTS, "folds_hash", "n_train")}
    names = tuple(score_type.name for score_type in row.score_types)
    return _Stored(row.problem.name, columns, names, folds, EventLimits.of(row), hides_labels(row))


def _prepare(event: EventConfig, stored: _Stored | None) -> PrepareResult:
    """Make the bundle: with the stored folds, unless there are none or the data have changed."""
    drawn = run_prepare(event)
    if stored is None or _has_other_rows(drawn, stored):
        return drawn
    if drawn.hashes["folds"] == stored.columns["folds_hash"]:
        return drawn
    kept = run_prepare(event, stored.folds)
    shutil.rmtree(drawn.bundle.public.parent, ignore_errors=True)
    return kept


def _has_other_rows(drawn: PrepareResult, stored: _Stored) -> bool:
    """Tell whether the stored folds are not about these rows: other data, or read otherwise."""
    found = (drawn.hashes["data"], drawn.n_train)
    return found != (stored.columns["data_hash"], stored.columns["n_train"])


def _spec(event: EventConfig, prepared: PrepareResult) -> EventSpec:
    folds = zip(prepared.folds, prepared.fold_files, strict=True)
    return EventSpec(
        title=event.ramp.event_title,
        is_public=event.ramp.event_is_public,
        config_path=str(event.path),
        score_types=tuple(map(ScoreTypeSpec.from_json, prepared.score_types)),
        folds=tuple(
            FoldSpec(fold["n_train"], fold["n_valid"], path.read_bytes()) for fold, path in folds
        ),
        n_train=prepared.n_train,
        n_test=prepared.n_test,
        bundle_hash=prepared.name,
        required_files=prepared.required_files,
        data_label=event.ramp.data_label,
        limits=_limits(event),
        **{f"{name}_hash": value for name, value in prepared.hashes.items()},
    )


def _limits(event: EventConfig) -> EventLimits:
    return EventLimits(**{name: getattr(event.ramp, key) for name, key in _LIMITS.items()})


def _add(database: Database, event: EventConfig, prepared: PrepareResult, spec: EventSpec) -> None:
    with database.session() as session:
        events.ensure_problem(session, event.ramp.problem_name, prepared.problem_title)
        events.add_event(session, event.ramp.event_name, event.ramp.problem_name, spec)


def _compared(prepared: PrepareResult, spec: EventSpec, stored: _Stored) -> Deployed:
    changes = [
        words for name, words in _PARTS.items() if getattr(spec, name) != stored.columns[name]
    ]
    has_new_folds = spec.folds_hash != stored.columns["folds_hash"]
    if prepared.bundle.hides_labels() != stored.hides_labels:
        changes.append("hide_validation_labels")
    if has_new_folds and not changes:
        changes = ["the folds"]
    kept = {score_type.name for score_type in spec.score_types}
    return Deployed(
        prepared,
        is_new=False,
        changes=tuple(changes),
        limit_changes=tuple(_LIMITS[name] for name in differences(spec.limits, stored.limits)),
        has_new_folds=has_new_folds,
        lost_score_types=tuple(name for name in stored.score_types if name not in kept),
    )


def _changed(event: EventConfig, deployed: Deployed) -> AlreadyExistsError:
    hint = f"Since it was deployed these have changed: {', '.join(deployed.changes)}. "
    hint += "Nothing was recorded. With --force it is deployed again: scores that there are stay, "
    hint += "but were made with what was there before"
    if deployed.lost_score_types:
        hint += f"; those of {', '.join(deployed.lost_score_types)}, gone from the kit, are deleted"
    return AlreadyExistsError("event", event.ramp.event_name, hint)
