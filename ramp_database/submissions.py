"""Submissions: adding, finding, and their files."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path, PurePosixPath

from sqlalchemy import Select, bindparam, insert, select
from sqlalchemy.orm import Session

from ramp_database import clock, names, people, queue
from ramp_database import model as tables
from ramp_database.errors import NotFoundError, SubmissionRejectedError
from ramp_database.events import get_event
from ramp_database.insertion import insert_named
from ramp_database.limits import check_limits
from ramp_database.model import Event, Submission, Team
from ramp_database.queue import Claim
from ramp_database.states import FINAL, State


@dataclass(frozen=True)
class SubmissionFile:
    """A file of a submission."""

    path: str  #: relative to the submission, with slashes
    content: bytes


@dataclass(frozen=True)
class Assignment:
    """What it takes to run a submission."""

    bundle: str  #: name of the bundle of its event as it is deployed now
    files: Sequence[SubmissionFile]  #: sorted by path


def directory_name(submission_id: int) -> str:
    """Give the name of a submission's directory: its number, and nothing a participant chose."""
    return f"submission_{submission_id:09d}"


def add(
    session: Session,
    event_name: str,
    team_name: str,
    name: str,
    files: Sequence[SubmissionFile],
    *,
    login: str | None = None,
) -> Submission:
    """Add a submission; it waits in the queue from the end of the transaction on.

    Parameters
    ----------
    session : Session
    event_name, team_name : str
        The team must be signed up to the event.
    name : str
        Unique among those of the team in the event.
    files : sequence of SubmissionFile
    login : str, optional
        The user who submits.

    Raises
    ------
    NotFoundError
        There is no such event, team or user, or the team is not signed up.
    AlreadyExistsError
        The team has a submission of that name.
    SubmissionRejectedError
        A name or a path is not allowed, required files are missing, or a limit of the event does
        not allow it now.

    Notes
    -----
    Submissions of one team to one event wait for each other's transactions.
    """
    event, team = _signed_up(session, event_name, team_name)
    check_name(name)
    check_files(files, event.required_files)
    now = clock.read(session)
    check_limits(session, event, team.id, sum(len(file.content) for file in files), now)
    user_id = people.get_user(session, login).id if login else None
    return _insert(session, event, team, name, files, now, user_id=user_id)


def take_over(
    session: Session,
    event_name: str,
    team_name: str,
    name: str,
    files: Sequence[SubmissionFile],
    *,
    submitted_at: datetime,
    reason: str,
) -> Submission:
    """Add a submission that was handed in elsewhere; the limits of the event do not apply to it.

    Parameters
    ----------
    session : Session
    event_name, team_name, name, files
        As in `add`.
    submitted_at : datetime
        When it was handed in, aware.
    reason : str
        Where it comes from, for its history.

    Raises
    ------
    NotFoundError, AlreadyExistsError, SubmissionRejectedError
        As `add`.
    """
    event, team = _signed_up(session, event_name, team_name)
    check_name(name)
    check_files(files, event.required_files)
    return _insert(session, event, team, name, files, submitted_at, reason=reason)


def find(session: Session, event_id: int, team_name: str, name: str) -> Submission | None:
    """Find a submission of a team to an event by its name."""
    query = select(Submission).join(Team, Team.id == Submission.team_id)
    query = query.where(Submission.event_id == event_id)
    return session.scalar(query.where(Team.name == team_name, Submission.name == name))


def _signed_up(session: Session, event_name: str, team_name: str) -> tuple[Event, Team]:
    """Give an event and a team that is signed up to it, whose other submissions wait now."""
    event, team = get_event(session, event_name), people.get_team(session, team_name)
    if not people.lock_sign_up(session, event.id, team.id):
        command = f"ramp database sign-up-team --event {event_name} --team {team_name}"
        hint = f"Run `{command}`, or submit with --create-team"
        raise NotFoundError("sign-up", f"{team_name} to {event_name}", hint=hint)
    return event, team


def _insert(
    session: Session,
    event: Event,
    team: Team,
    name: str,
    files: Sequence[SubmissionFile],
    submitted_at: datetime,
    *,
    user_id: int | None = None,
    reason: str = queue.SUBMITTED,
) -> Submission:
    submission = Submission(
        event_id=event.id,
        team=team,
        user_id=user_id,
        name=name,
        submitted_at=submitted_at,
        content_hash=content_hash(files),
        state=State.NEW,
    )
    insert_named(session, submission, "submission", name, "Give it another name with --name")
    rows = [{"submission_id": submission.id, **vars(file)} for file in files]
    session.execute(insert(tables.SubmissionFile), rows)
    queue.record_arrival(session, submission.id, reason)
    return submission


def check_name(name: str) -> None:
    """Check the name of a submission.

    Raises
    ------
    SubmissionRejectedError
        It cannot be shown in a line.
    """
    if not names.is_name(name):
        raise SubmissionRejectedError(
            f"the name {name[:80]!r} is not allowed", f"A name is {names.EXPECTED}"
        )


def check_files(files: Sequence[SubmissionFile], required: Iterable[str] = ()) -> None:
    """Check the paths of the files, their code, and that those are there that the event requires.

    Raises
    ------
    SubmissionRejectedError
        There are none, one is missing or leads outside, two have the same name or names that differ
        by case or spelling only, one has the name of a folder, or a ``.py`` is not UTF-8.
    """
    if not files:
        raise SubmissionRejectedError("it holds no files")
    paths = [_checked_path(file.path) for file in files]
    _check_names(paths)
    for file in files:
        if file.path.endswith(".py"):
            _check_code(file)
    missing = [path for path in required if path not in paths]
    if missing:
        names = ", ".join(repr(path) for path in missing)
        raise SubmissionRejectedError(f"the event requires {names}, found {sorted(paths)[:20]}")


def _check_names(paths: Sequence[str]) -> None:
    """Check that every path can be written, on whatever filesystem."""
    known: dict[str, str] = {}
    for path in paths:
        folded = _folded(path)
        if known.get(folded) == path:
            raise SubmissionRejectedError(f"it holds {path!r} twice")
        if folded in known:
            raise SubmissionRejectedError(
                f"{known[folded]!r} and {path!r} are the same name on some systems",
                "Rename one of them",
            )
        known[folded] = path
    folders = {str(parent) for path in paths for parent in PurePosixPath(_folded(path)).parents}
    for path in paths:
        if _folded(path) in folders:
            raise SubmissionRejectedError(f"{path!r} is the name of a file and of a folder")


def _folded(path: str) -> str:
    """Give what a filesystem compares that ignores case and the spelling of accents."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())


def _check_code(file: SubmissionFile) -> None:
    """Check that a file of code can be read, by Python and by people."""
    try:
        file.content.decode("utf-8")
        found = file.content.find(b"\0")
    except UnicodeDecodeError as error:
        found = error.start
    if found >= 0:
        line = file.content.count(b"\n", 0, found) + 1
        what = "a NUL" if file.content[found] == 0 else f"the byte 0x{file.content[found]:02x}"
        raise SubmissionRejectedError(
            f"{file.path!r} is not UTF-8 text: {what} in line {line}", "Save it as UTF-8"
        )


def _checked_path(path: str) -> str:
    pure = PurePosixPath(path)
    is_inside = bool(pure.parts) and not pure.is_absolute() and ".." not in pure.parts
    if not is_inside or "\0" in path or "\\" in path or str(pure) != path:
        raise SubmissionRejectedError(f"the path {path!r} is not allowed")
    return path


def content_hash(files: Iterable[SubmissionFile]) -> str:
    """Hash names and contents of files.

    Returns
    -------
    str
        sha256 in hex, whatever the order of the files.
    """
    total = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        path = file.path.encode("utf-8", "surrogateescape")
        total.update(hashlib.sha256(path).digest() + hashlib.sha256(file.content).digest())
    return total.hexdigest()


def get(session: Session, submission_id: int) -> Submission:
    """Find a submission by its number.

    Raises
    ------
    NotFoundError
        There is none.
    """
    found = session.get(Submission, submission_id, populate_existing=True)
    if found is None:
        hint = "`ramp status` lists the submissions of an event"
        raise NotFoundError("submission", submission_id, hint=hint)
    return found


def by_state(session: Session, event_id: int, state: State | None = None) -> list[Submission]:
    """List the submissions of an event, the oldest first.

    Parameters
    ----------
    session : Session
    event_id : int
    state : State, optional
        Only those in this state.
    """
    query = select(Submission).where(Submission.event_id == event_id)
    if state is not None:
        query = query.where(Submission.state == state)
    query = query.order_by(Submission.submitted_at, Submission.id)
    return list(session.scalars(query.execution_options(populate_existing=True)))


def ids_by_state(session: Session, event_id: int, states: Collection[State]) -> list[int]:
    """List the numbers of the submissions of an event that are in some of these states."""
    query = select(Submission.id).where(Submission.event_id == event_id)
    return list(session.scalars(query.where(Submission.state.in_(states)).order_by(Submission.id)))


def open_ids(session: Session, ids: Collection[int]) -> set[int]:
    """Tell which of these submissions have not come to their end; an unknown one has."""
    query = select(Submission.id).where(Submission.id.in_(ids), Submission.state.not_in(FINAL))
    return set(session.scalars(query))


def titles(session: Session, claims: Collection[Claim]) -> Mapping[int, tuple[str, str]]:
    """Give team and name of claimed submissions, for people; asks where a claim does not tell them.

    Returns
    -------
    mapping
        From the number of the submission to the names of its team and of itself.
    """
    known = {one.submission_id: (one.team, one.name) for one in claims if one.team and one.name}
    missing = {one.submission_id for one in claims} - known.keys()
    if not missing:
        return known
    query = select(Submission.id, Team.name, Submission.name).join(Submission.team)
    rows = session.execute(query.where(Submission.id.in_(missing)))
    return known | {submission_id: (team, name) for submission_id, team, name in rows}


def assignment(session: Session, submission_id: int) -> Assignment:
    """Read what it takes to run a submission, in one statement.

    Raises
    ------
    NotFoundError
        There is no such submission any more.
    """
    rows = session.execute(_assigning(), {"the_submission": submission_id}).all()
    if not rows:
        raise NotFoundError("submission", submission_id)
    return Assignment(rows[0][0], [SubmissionFile(path, content) for _, path, content in rows])


@cache
def _assigning() -> Select[str, str, bytes]:
    table = tables.SubmissionFile
    return (
        select(Event.bundle_hash, table.path, table.content)
        .select_from(Submission)
        .join(Event, Event.id == Submission.event_id)
        .join(table, table.submission_id == Submission.id)
        .where(Submission.id == bindparam("the_submission"))
        .order_by(table.path)
    )


def write_files(files: Iterable[SubmissionFile], directory: Path) -> None:
    """Write the files of a submission into a directory, which is made when it is missing.

    Raises
    ------
    SubmissionRejectedError
        A path leads outside; nothing is written then.
    OSError
        The disk refused; what was written until then stays.
    """
    checked = [(directory / _checked_path(file.path), file.content) for file in files]
    directory.mkdir(parents=True, exist_ok=True)
    for path, content in checked:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
