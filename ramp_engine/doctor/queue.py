"""Checks of who works on an event's submissions, and of those that the platform failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.orm import Session

from ramp_database import presence, submissions
from ramp_database import queue as queue_
from ramp_database.presence import Presence
from ramp_database.states import State
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.prospects import launch_command


def is_served(event: PatientEvent) -> Iterator[Finding]:
    """Check that dispatchers live, and that none that is dead owns or delays a submission."""
    database = event.deployment.database
    if event.row is None or database is None:
        return
    with database.session(read_only=True) as session:
        found = presence.of_event(session, event.row.id)
        n_waiting = len(submissions.ids_by_state(session, event.row.id, {State.NEW}))
        live = [one for one in found if one.is_live]
        orphans = _orphans(session, event.row.id, {one.id for one in live})
    remedy = launch_command(event.quoted_path)
    yield from _silent(found, live, remedy)
    if orphans:
        yield _lost(orphans, live, remedy)
    yield _waiting(n_waiting, live, remedy)


def _orphans(session: Session, event_id: int, live: set[int]) -> list[int]:
    """List the submissions whose owner is dead."""
    claims = queue_.owned_of_event(session, event_id)
    return [claim.submission_id for claim in claims if claim.dispatcher_id not in live]


def _silent(found: Sequence[Presence], live: list[Presence], remedy: str) -> Iterator[Finding]:
    for one in found:
        if one.is_stale:
            message = (
                f"dispatcher {one.id} ({one.host}, process {one.pid}) has given no sign of life "
                f"for {one.silent_seconds:.0f} s"
            )
            if live:
                nothing = f"none: dispatcher {live[0].id} ends it"
                yield warning(Kind.DISPATCHER_SILENT, message, nothing)
            else:
                yield problem(Kind.DISPATCHER_SILENT, message, remedy)


def _lost(orphans: list[int], live: list[Presence], remedy: str) -> Finding:
    message = f"submissions of dead dispatchers: {_numbers(orphans)}"
    if live:
        nothing = f"none: dispatcher {live[0].id} takes them back"
        return warning(Kind.SUBMISSIONS_ORPHANED, message, nothing)
    return problem(Kind.SUBMISSIONS_ORPHANED, message, remedy)


def _waiting(n_waiting: int, live: list[Presence], remedy: str) -> Finding:
    if live:
        names = ", ".join(f"{one.id} ({one.host}, process {one.pid})" for one in live)
        return ok(f"dispatchers at work: {names}; {n_waiting} submissions wait")
    if n_waiting:
        message = f"{n_waiting} submissions wait, and no dispatcher runs"
        return problem(Kind.NO_DISPATCHER, message, remedy)
    return ok("no submission waits, and no dispatcher runs")


def holds_failures(event: PatientEvent) -> Iterator[Finding]:
    """Look for submissions that the platform failed."""
    database = event.deployment.database
    if event.row is None or database is None:
        return
    with database.session(read_only=True) as session:
        failed = submissions.ids_by_state(session, event.row.id, {State.CHECKING_ERROR})
    if failed:
        message = f"the platform failed submissions, see ramp explain: {_numbers(failed)}"
        yield warning(Kind.PLATFORM_FAILED, message, f"ramp retry --failed --event {event.name}")
    else:
        yield ok("no submission is in checking_error")


def _numbers(ids: list[int], n_shown: int = 10) -> str:
    more = f" and {len(ids) - n_shown} more" if len(ids) > n_shown else ""
    return ", ".join(map(str, ids[:n_shown])) + more
