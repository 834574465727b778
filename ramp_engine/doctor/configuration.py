"""Checks of the files of a deployment and of its events."""

from __future__ import annotations

from collections.abc import Iterator

from ramp_database.config import load_deployment
from ramp_engine import registry
from ramp_engine.config import hook_problems
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import Deployment, PatientEvent
from ramp_engine.errors import ConfigErrors


def of_deployment(deployment: Deployment) -> Iterator[Finding]:
    """Check the deployment's file."""
    try:
        deployment.settings = load_deployment(deployment.config)
    except ConfigErrors as error:
        yield from _mistakes(error)
        return
    if deployment.settings.is_default:
        yield ok("there is no config.yml here: ramp.db in the current directory is the database")
    else:
        yield ok(f"{deployment.settings.path} is valid")


def of_event(event: PatientEvent) -> Iterator[Finding]:
    """Check the event's file, and that its worker and its hooks can be loaded."""
    if not event.path.is_file():
        message = f"there is no {event.path}"
        yield problem(Kind.EVENT_FILE_MISSING, message, "ramp doctor --event-config FILE")
        return
    try:
        config = event.deployment.load_event(event.path)
    except ConfigErrors as error:
        yield from _mistakes(error)
        return
    event.config, event.name = config, config.ramp.event_name
    n_workers = config.dispatcher.n_workers
    yield ok(f"{event.path} is valid: {n_workers} at once on worker_type {config.worker_type}")
    for one in hook_problems(event.path, lambda kind: registry.hook_class(kind).config_model):
        message = f"{one}. Submissions are evaluated without this hook"
        yield warning(Kind.HOOK_UNUSABLE, message, f"edit {one.path}")


def _mistakes(error: ConfigErrors) -> Iterator[Finding]:
    for one in error.errors:
        yield problem(Kind.CONFIG_INVALID, str(one), f"edit {one.path}")
