"""The bundle of a deployed event: found on disk, or made again from what the database keeps."""

from __future__ import annotations

import threading

from ramp_database import events
from ramp_database.session import Database
from ramp_engine.config import EventConfig
from ramp_engine.errors import EvaluationError
from ramp_engine.preparation import Bundle, run_prepare


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
        Kit or data cannot be read, or are not those that were deployed.
    WorkerSetupError
        The event's environment is missing.
    """
    bundles_dir = event.ramp.work_dir / "bundles"
    if name is not None and (known := Bundle.within(bundles_dir, name)).exists:
        return known
    with database.session(read_only=True) as session:
        row = events.get_event(session, event.ramp.event_name)
        bundle = Bundle.within(bundles_dir, row.bundle_hash)
        if bundle.exists:
            return bundle
        deployed = {"kit": row.kit_hash, "data": row.data_hash}
        folds = events.folds(session, row.id)
    result = run_prepare(event, folds, stopping=stopping)
    changed = [part for part, value in deployed.items() if result.hashes[part] != value]
    if changed:
        raise EvaluationError(
            "prepare",
            f"the {' and the '.join(changed)} changed since the event was deployed",
            f"Deploy it again: ramp setup deploy-event --force --event-config {event.path}",
        )
    return result.bundle
