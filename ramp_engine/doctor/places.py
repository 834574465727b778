"""Checks of an event's directories and their disks."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from ramp_database import queue
from ramp_engine import attempt
from ramp_engine.config import EventConfig
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import PatientEvent

#: Free space below which submissions fail, and below which they soon may, in MB.
NO_SPACE_MB, LITTLE_SPACE_MB = 200.0, 2000.0
#: The same for files that can still be made.
NO_FILES, FEW_FILES = 1_000, 20_000


def are_writable(event: PatientEvent) -> Iterator[Finding]:
    """Check that kit and data can be read, and the other directories be written."""
    if event.config is None:
        return
    ramp = event.config.ramp
    found = [
        *(_unreadable(f"{name}_dir", getattr(ramp, f"{name}_dir")) for name in ("kit", "data")),
        *(_unwritable(name, path) for name, path in _written(event.config).items()),
    ]
    findings = [finding for finding in found if finding is not None]
    yield from findings or [ok("kit and data can be read, the other directories be written")]


def _written(config: EventConfig) -> dict[str, Path]:
    names = ("submissions_dir", "predictions_dir", "logs_dir", "work_dir")
    return {name: getattr(config.ramp, name) for name in names}


def _unreadable(name: str, path: Path) -> Finding | None:
    if not path.is_dir():
        message = f"{name} {path} is no directory"
        return problem(Kind.UNREADABLE, message, f"correct {name}, or put it there")
    if not os.access(path, os.R_OK | os.X_OK):
        message = f"{name} {path} cannot be read by this user"
        return problem(Kind.UNREADABLE, message, f"ls -ld {_quoted(path)}")
    return None


def _unwritable(name: str, path: Path) -> Finding | None:
    there = _existing(path)
    if not there.is_dir():
        message = f"{name} {path} cannot be made: {there} is no directory"
        return problem(Kind.UNWRITABLE, message, f"mv {_quoted(there)} {_quoted(there)}.old")
    if not os.access(there, os.W_OK | os.X_OK):
        message = f"{name} {path} cannot be written: {there}"
        return problem(Kind.UNWRITABLE, message, f"ls -ld {_quoted(there)}")
    return None


def _existing(path: Path) -> Path:
    """Give the path, or what is there of it."""
    return next(place for place in (path, *path.parents) if os.path.lexists(place))


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def have_space(event: PatientEvent) -> Iterator[Finding]:
    """Check each disk that the event's directories lie on."""
    if event.config is None:
        return
    disks: dict[int, Path] = {}
    for path in _written(event.config).values():
        there = _existing(path)
        disks.setdefault(there.stat().st_dev, there)
    for there in disks.values():
        yield _space(there, event.name)


def _space(there: Path, event_name: str) -> Finding:
    disk = os.statvfs(there)
    free_mb = disk.f_bavail * disk.f_frsize / 2**20
    n_files = disk.f_favail if disk.f_files else FEW_FILES  # some file systems do not count them
    message = f"{free_mb:,.0f} MB and {n_files:,} files are free on the disk of {there}"
    remedy = f"ramp database delete-predictions --event {event_name}"
    if free_mb < NO_SPACE_MB or n_files < NO_FILES:
        return problem(Kind.DISK_FULL, f"only {message}", remedy)
    if free_mb < LITTLE_SPACE_MB or n_files < FEW_FILES:
        return warning(Kind.DISK_FULL, f"only {message}", remedy)
    return ok(message)


def hold_leftovers(event: PatientEvent) -> Iterator[Finding]:
    """Look for what attempts of dead dispatchers left behind."""
    database = event.deployment.database
    if event.config is None or event.row is None or database is None:
        return
    ramp = event.config.ramp
    found = attempt.left_on_disk(  # before asking who is at work
        ramp.work_dir / "attempts", ramp.submissions_dir, ramp.predictions_dir, ramp.logs_dir
    )
    with database.session(read_only=True) as session:
        claims = set(queue.owned_of_event(session, event.row.id))
    left = [path for path, claim in found.items() if claim not in claims]
    left = sorted(path for path in left if path.exists())  # a run may just have ended
    if left:
        message = f"{len(left)} directories of attempts that nobody works on any more"
        yield warning(Kind.LEFTOVERS, message, f"rm -r {' '.join(map(_quoted, left))}")
    else:
        yield ok("attempts have left nothing behind")
