"""Checks of an event's kit and data, and of the bundle that is made of them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ramp_database import events
from ramp_engine.bundles import HIDING, hides_labels
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.errors import EvaluationError
from ramp_engine.evaluation import fingerprint
from ramp_engine.preparation import Bundle, run_prepare


def are_as_deployed(event: PatientEvent) -> Iterator[Finding]:
    """Check that kit, data and what folds may see are as deployed; reads kit and data once."""
    if event.config is None or event.row is None:
        return
    changed = [part for part, is_changed in _changes(event) if is_changed]
    if not changed:
        yield ok("kit and data are as they were deployed")
        return
    parts = " and the ".join(changed)
    message = f"the {parts} changed since the event was deployed"
    if _bundle(event).exists:
        message += "; submissions are still evaluated with what was deployed"
        yield warning(Kind.KIT_CHANGED, message, event.deploy_command(is_forced=True))
    else:
        yield problem(Kind.KIT_CHANGED, message, event.deploy_command(is_forced=True))


def _changes(event: PatientEvent) -> Iterator[tuple[str, bool]]:
    assert event.config is not None  # noqa: S101  the callers have looked
    assert event.row is not None  # noqa: S101  the callers have looked
    kit, data = event.config.ramp.kit_dir, event.config.ramp.data_dir
    kit_hash = fingerprint.files_hash(kit, fingerprint.kit_files(kit))
    data_hash = fingerprint.files_hash(data, fingerprint.data_files(data, kit))
    yield "kit", kit_hash != event.row.kit_hash
    yield "data", data_hash != event.row.data_hash
    yield HIDING, event.config.evaluation.hide_validation_labels != hides_labels(event.row)


def deployed_bundle(event: PatientEvent) -> Bundle | None:
    """Name the bundle of the event as it is deployed; None when it is not."""
    return None if event.config is None or event.row is None else _bundle(event)


def _bundle(event: PatientEvent) -> Bundle:
    assert event.config is not None  # noqa: S101  the callers have looked
    assert event.row is not None  # noqa: S101  the callers have looked
    return Bundle.within(event.config.ramp.work_dir / "bundles", event.row.bundle_hash)


def can_be_evaluated(event: PatientEvent) -> Iterator[Finding]:
    """Check that the bundle is there, or else that it can be made, in a directory of our own."""
    database = event.deployment.database
    if event.config is None or event.row is None or database is None:
        return
    if _bundle(event).exists:
        yield ok("the bundle is there")
        return
    if event.python is None:
        return
    with database.session(read_only=True) as session:
        folds = events.folds(session, event.row.id)
    evaluation = {"python": str(event.python), "conda_env": None}
    with tempfile.TemporaryDirectory(prefix="ramp-doctor-") as scratch:
        elsewhere = replace(
            event.config,
            ramp=event.config.ramp.model_copy(update={"work_dir": Path(scratch)}),
            evaluation=event.config.evaluation.model_copy(update=evaluation),
        )
        try:
            run_prepare(elsewhere, folds)
        except EvaluationError as error:
            message = f"the bundle is missing and cannot be made: {error.reason}"
            remedy = event.deploy_command(is_forced=True)
            yield problem(Kind.BUNDLE_IMPOSSIBLE, message, remedy)
            return
    message = "the bundle is missing; the next dispatcher makes it before it starts"
    yield warning(Kind.BUNDLE_MISSING, message, event.deploy_command())
