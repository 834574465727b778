"""Examine a deployment and its events: what is wrong, and the command that mends it.

`examine` runs `DEPLOYMENT_CHECKS`, then `EVENT_CHECKS` for each event. A check is a function that
gives findings; nothing is changed. What a check needs and cannot have, such as a database that was
found to be away, has been told as a problem already: the check finds nothing then.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from ramp_database import events
from ramp_engine.config import EventConfig
from ramp_engine.doctor import (
    cluster,
    configuration,
    confinement,
    database,
    environment,
    kit,
    online,
    places,
    queue,
)
from ramp_engine.doctor.finding import Finding, Kind, Level, problem
from ramp_engine.doctor.patient import Deployment, PatientEvent
from ramp_engine.errors import RampError

__all__ = ["DEPLOYMENT_CHECKS", "EVENT_CHECKS", "Finding", "Kind", "Level", "examine"]

logger = logging.getLogger(__name__)
_Patient = TypeVar("_Patient")

#: What is examined of a deployment, by the name of the check, in this order.
DEPLOYMENT_CHECKS: dict[str, Callable[[Deployment], Iterable[Finding]]] = {
    "configuration": configuration.of_deployment,
    "database": database.is_usable,
}
#: What is examined of each event.
EVENT_CHECKS: dict[str, Callable[[PatientEvent], Iterable[Finding]]] = {
    "configuration": configuration.of_event,
    "deployment": database.is_deployed,
    "directories": places.are_writable,
    "disk space": places.have_space,
    "environment": environment.works,
    "sandbox": confinement.is_confined,
    "kit and data": kit.are_as_deployed,
    "bundle": kit.can_be_evaluated,
    "cluster": cluster.runs_folds,
    "place": online.is_ready,
    "leftovers": places.hold_leftovers,
    "dispatchers": queue.is_served,
    "submissions": queue.holds_failures,
}


def examine(
    config: Path | None,
    event_config: Path | None,
    load_event: Callable[[Path], EventConfig],
) -> Iterator[Finding]:
    """Examine a deployment, and one event or all that are deployed.

    Parameters
    ----------
    config : Path or None
        The deployment's file; None for the default.
    event_config : Path or None
        The event's file; None for every event of the database.
    load_event : callable
        Reads an event's file, the keys of its worker included.

    Yields
    ------
    Finding
        As soon as it is known.
    """
    deployment = Deployment(config, load_event)
    try:
        yield from _run(DEPLOYMENT_CHECKS, deployment)
        for patient in _patients(deployment, event_config):
            for finding in _run(EVENT_CHECKS, patient):
                yield replace(finding, event=patient.name)
    finally:
        if deployment.database is not None:
            deployment.database.dispose()


def _patients(deployment: Deployment, event_config: Path | None) -> list[PatientEvent]:
    if event_config is not None:
        return [PatientEvent(deployment, event_config.absolute(), event_config.parent.name)]
    if deployment.database is None:
        return []
    try:
        with deployment.database.session(read_only=True) as session:
            rows = events.list_events(session)
    except RampError:  # it went away since it was checked
        return []
    return [PatientEvent(deployment, Path(row.config_path), row.name) for row in rows]


def _run(
    checks: dict[str, Callable[[_Patient], Iterable[Finding]]], patient: _Patient
) -> Iterator[Finding]:
    for name, check in checks.items():
        for finding in _findings(name, check, patient):
            yield replace(finding, check=name)


def _findings(
    name: str, check: Callable[[_Patient], Iterable[Finding]], patient: _Patient
) -> Iterator[Finding]:
    """Give what a check finds; that it fails itself is a finding, too."""
    try:
        yield from check(patient)
    except RampError as error:
        yield problem(Kind.CHECK_FAILED, str(error), "")
    except Exception as error:
        logger.info("the check %r failed", name, exc_info=True)
        reason = f"{type(error).__name__}: {error}"
        message = f"this check failed itself: {reason}"
        yield problem(Kind.CHECK_FAILED, message, "ramp doctor -v tells where")
