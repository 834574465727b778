"""The bundle of a deployed event: found on disk, or made again from what the database keeps."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ramp_database import events
from ramp_database.model import Event
from ramp_database.provenance import PARTS
from ramp_database.session import Database
from ramp_engine.config import EventConfig
from ramp_engine.errors import EvaluationError
from ramp_engine.evaluation import fingerprint
from ramp_engine.preparation import Bundle, run_prepare

__all__ = ["HIDING", "ensure_bundle", "hides_labels"]

#: What people are told has changed.
HIDING = "key hide_validation_labels"


def ensure_bundle(
    database: Database,
    event: EventConfig,
    name: str | None = None,
    *,
    stopping: threading.Event | None = None,
) -> Bundle:
    """Find the event's bundle; make it with the stored folds when it is not there.

    Parameters
    ----------
    database : Database
    event : EventConfig
        Of a deployed event.
    name : str, optional
        Of the bundle as the event is deployed now; the database is asked when it is not given, or
        when there is no such bundle.
    stopping : Event, optional
        Ends the making early when it is set, with an error.

    Returns
    -------
    Bundle

    Raises
    ------
    EvaluationError
        Kit or data cannot be read, or are not those that were deployed; or validation labels are
        to be hidden, and in the bundle that was deployed they are not.
    WorkerSetupError
        The event's environment is missing.
    """
    bundle = _find_or_make(database, event, name, stopping)
    if event.evaluation.hide_validation_labels and not bundle.hides_labels():
        raise _changed(event, [HIDING])
    return bundle


def _find_or_make(
    database: Database, event: EventConfig, name: str | None, stopping: threading.Event | None
) -> Bundle:
    bundles_dir = event.ramp.work_dir / "bundles"
    if name is not None and (known := Bundle.within(bundles_dir, name)).exists:
        return known
    with database.session(read_only=True) as session:
        row = events.get_event(session, event.ramp.event_name)
        bundle = Bundle.within(bundles_dir, row.bundle_hash)
        if bundle.exists:
            return bundle
        deployed = {"kit": row.kit_hash, "data": row.data_hash}
        was_hiding = hides_labels(row)
        folds = events.folds(session, row.id)
    result = run_prepare(event, folds, stopping=stopping)
    changed = [part for part, value in deployed.items() if result.hashes[part] != value]
    if was_hiding != event.evaluation.hide_validation_labels:
        changed.append(HIDING)
    if changed:
        raise _changed(event, changed)
    return result.bundle


def _changed(event: EventConfig, parts: Sequence[str]) -> EvaluationError:
    return EvaluationError(
        "prepare",
        f"the {' and the '.join(parts)} changed since the event was deployed",
        f"Deploy it again: ramp setup deploy-event --force --event-config {event.path}",
    )


def hides_labels(row: Event) -> bool:
    """Tell whether an event was deployed with ``hide_validation_labels``.

    It is not recorded by itself: the bundle's name, a hash of its inputs, says it.
    """
    hashes = {part: getattr(row, f"{part}_hash") for part in PARTS}
    hidden = fingerprint.bundle_hash(hashes, row.data_label, hides_labels=True)
    return bool(row.bundle_hash == hidden)
