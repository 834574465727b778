"""Checks of the database, and of what it knows of an event."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ramp_database import events
from ramp_database.session import Database
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import Deployment, PatientEvent
from ramp_engine.errors import DatabaseUnavailableError, NotFoundError, SchemaError


def is_usable(deployment: Deployment) -> Iterator[Finding]:
    """Check that the database answers, can be written, and has the tables of this version."""
    if deployment.settings is None:
        return
    database = Database(deployment.settings.url)
    path = _sqlite_path(database)
    if path is not None and not path.exists():
        yield warning(
            Kind.DATABASE_MISSING,
            f"there is no database {path} yet: it is made at first use",
            "ramp setup deploy-event --event-config events/NAME/config.yml",
        )
        return
    if path is not None and not all(os.access(place, os.W_OK) for place in (path, path.parent)):
        message = f"{path}, or its folder, cannot be written"
        yield problem(Kind.DATABASE_READ_ONLY, message, f"ls -ld {path} {path.parent}")
    yield _tables(deployment, database)


def _tables(deployment: Deployment, database: Database) -> Finding:
    try:
        database.check_schema()
    except SchemaError as error:
        state = "has no tables of ramp" if error.found is None else f"has schema {error.found}"
        message = f"{error.url} {state}, this program needs schema {error.expected}"
        return problem(Kind.DATABASE_VERSION, message, "ramp database upgrade")
    except DatabaseUnavailableError as error:
        message = f"the database {error.url} cannot be reached: {error.reason}"
        remedy = "start its server, or correct `sqlalchemy:` in config.yml"
        return problem(Kind.DATABASE_AWAY, message, remedy)
    deployment.database = database
    return ok(f"{database.label} answers; its tables are up to date")


def _sqlite_path(database: Database) -> Path | None:
    url = database.engine.url
    return Path(str(url.database)) if url.get_backend_name() == "sqlite" else None


def is_deployed(event: PatientEvent) -> Iterator[Finding]:
    """Check that the event is in the database."""
    database = event.deployment.database
    if database is None or event.config is None:
        return
    try:
        with database.session(read_only=True) as session:
            event.row = events.get_event(session, event.name)
    except NotFoundError:
        message = f"the event {event.name} is not deployed"
        yield problem(Kind.NOT_DEPLOYED, message, event.deploy_command())
        return
    row = event.row
    yield ok(f"deployed with {row.n_folds} folds of {row.n_train} rows, {row.problem.title}")
