"""Ask the place where submissions are to run, such as a cloud, whether it is ready."""

from __future__ import annotations

from collections.abc import Iterator

from ramp_engine import registry
from ramp_engine.base import BaseWorker
from ramp_engine.doctor.finding import Finding, Kind, ok, problem
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.errors import WorkerError


def is_ready(event: PatientEvent) -> Iterator[Finding]:
    """Have the worker look; of workers only that know how. Nothing is started, nothing costs."""
    if event.config is None:
        return
    worker_class = registry.worker_class(event.config.worker_type)
    if worker_class.check_online.__func__ is BaseWorker.check_online.__func__:  # type: ignore[attr-defined]
        return
    try:
        problems = worker_class.check_online(event.config.worker_config())
    except WorkerError as error:
        yield problem(Kind.PLACE_NOT_READY, error.reason, error.hint)
        return
    for one in problems:
        remedy = f"edit {event.path}, or what it names there"
        yield problem(Kind.PLACE_NOT_READY, one, remedy)
    if not problems:
        yield ok(
            f"what worker_type {event.config.worker_type} needs is there and allowed; an image's "
            "environment shows when the first submission starts"
        )
