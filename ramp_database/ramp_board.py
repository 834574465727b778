"""Read what RAMP (ramp-board) holds of an event: its teams, their people, and what they submitted.

Nothing is written there: the transaction is read-only, and a file of SQLite is opened so that it
cannot be changed. Scores are not read: they were computed where submitted code could reach them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, DateTime, Engine, column, create_engine, inspect, select
from sqlalchemy import table as make_table
from sqlalchemy.exc import SQLAlchemyError

from ramp_database.driver_errors import translated
from ramp_database.errors import DatabaseError, DatabaseUnavailableError, NotFoundError
from ramp_database.session import engine_for, parse_url

__all__ = ["OldEvent", "OldSubmission", "OldTeam", "OldUser", "read_event"]


@dataclass(frozen=True)
class OldUser:
    """A person, as RAMP knows them; without the password, which has no use here."""

    login: str
    firstname: str
    lastname: str
    email: str
    access_level: str  #: ``not_confirmed``, ``asked``, ``user`` or ``admin``
    created_at: datetime  #: aware, as all times here


@dataclass(frozen=True)
class OldTeam:
    """A team that was admitted to the event."""

    name: str
    created_at: datetime
    signed_up_at: datetime
    members: tuple[OldUser, ...]  #: whoever owns it first


@dataclass(frozen=True)
class OldSubmission:
    """A submission to the event."""

    id: int
    team: str
    name: str
    submitted_at: datetime
    state: str
    paths: tuple[str, ...]  #: names of its files, in its folder

    @property
    def directory(self) -> str:
        """The name of its folder."""
        return f"submission_{self.id:09d}"


@dataclass(frozen=True)
class OldEvent:
    """What is to be taken over of an event."""

    name: str
    submissions_dir: Path  #: the folder of its submissions, as RAMP has it
    teams: Sequence[OldTeam]
    submissions: Sequence[OldSubmission]  #: the earliest first
    left_out: Counter[str]  #: how many teams and submissions are not taken, by reason


def read_event(url: str | URL, name: str) -> OldEvent:
    """Read an event.

    Parameters
    ----------
    url : str or URL
        RAMP's database, or one into which a dump of it was loaded: PostgreSQL or SQLite.
    name : str
        The event's name there.

    Raises
    ------
    NotFoundError
        It has no such event.
    DatabaseUnavailableError
        It cannot be reached.
    DatabaseError
        It is no database of RAMP.
    """
    parsed = parse_url(url)
    engine = _engine(parsed)
    label = parsed.render_as_string(hide_password=True)
    try:
        with _translating(label), engine.connect() as connection:
            _check_tables(connection, label)
            return _Reader(connection).event(name)
    finally:
        engine.dispose()


def _engine(url: URL) -> Engine:
    if url.get_backend_name() != "sqlite":
        return engine_for(url).execution_options(
            postgresql_readonly=True, isolation_level="REPEATABLE READ"
        )
    path = Path(str(url.database)).absolute()
    if not path.is_file():
        raise DatabaseUnavailableError(str(url), "there is no such file")
    # as a URI, in which a `?` of the path would end it, and with it what comes after
    query = {"mode": "ro", "uri": "true"}
    return create_engine(URL.create("sqlite", database=path.as_uri(), query=query))


@contextmanager
def _translating(label: str) -> Iterator[None]:
    """Tell errors as ours; that tables are missing must not name our own command for that."""
    try:
        yield
    except SQLAlchemyError as error:
        told = translated(error, label)
        if isinstance(told, DatabaseUnavailableError):
            raise told from error
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        raise DatabaseError(f"{label} cannot be read as a database of RAMP: {reason}") from error


def _t(name: str, *columns: str) -> Any:
    """Describe a table of RAMP's by the columns that are read; times are UTC without saying so."""
    return make_table(
        name,
        *(
            column(one, DateTime()) if one.endswith("_timestamp") else column(one)
            for one in columns
        ),
    )


_EVENTS = _t("events", "id", "name", "ramp_sandbox_name", "path_ramp_submissions")
_EVENT_TEAMS = _t("event_teams", "id", "event_id", "team_id", "signup_timestamp", "approved")
_TEAMS = _t("teams", "id", "name", "admin_id", "creation_timestamp")
_USERS = _t(
    "users", "id", "name", "firstname", "lastname", "email", "access_level", "signup_timestamp"
)
_SUBMISSIONS = _t(
    "submissions",
    "id",
    "event_team_id",
    "name",
    "submission_timestamp",
    "type",
    "state",
    "is_valid",
)
_FILES = _t(
    "submission_files", "submission_id", "workflow_element_id", "submission_file_type_extension_id"
)
_ELEMENTS = _t("workflow_elements", "id", "workflow_element_type_id")
_ELEMENT_TYPES = _t("workflow_element_types", "id", "name")
_TYPE_EXTENSIONS = _t("submission_file_type_extensions", "id", "extension_id")
_EXTENSIONS = _t("extensions", "id", "name")
#: Older versions of RAMP have teams of one person only, and no such table.
_MEMBERS = _t("user_teams", "user_id", "team_id", "status")

_NEEDED = [_EVENTS, _EVENT_TEAMS, _TEAMS, _USERS, _SUBMISSIONS, _FILES, _ELEMENTS, _ELEMENT_TYPES]
_NEEDED += [_TYPE_EXTENSIONS, _EXTENSIONS]


def _check_tables(connection: Connection, label: str) -> None:
    there = set(inspect(connection).get_table_names())
    missing = [table.name for table in _NEEDED if table.name not in there]
    if missing:
        raise DatabaseError(f"{label} is no database of RAMP: it has no table {missing[0]!r}")


class _Reader:
    """Reads one event, table by table."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left_out: Counter[str] = Counter()

    def event(self, name: str) -> OldEvent:
        rows = {row.name: row for row in self._connection.execute(select(_EVENTS))}
        if name not in rows:
            raise NotFoundError("event of RAMP", name, sorted(rows), "Name it with --old-event")
        row = rows[name]
        teams = self._teams(row.id)
        submissions = self._submissions(row, {key: team.name for key, team in teams.items()})
        directory = Path(row.path_ramp_submissions)
        return OldEvent(name, directory, list(teams.values()), submissions, self._left_out)

    def _teams(self, event_id: int) -> dict[int, OldTeam]:
        """Give the teams by the number of their sign-up, which RAMP's submissions name."""
        query = (
            select(_EVENT_TEAMS, _TEAMS.c.name, _TEAMS.c.admin_id, _TEAMS.c.creation_timestamp)
            .join_from(_EVENT_TEAMS, _TEAMS, _TEAMS.c.id == _EVENT_TEAMS.c.team_id)
            .where(_EVENT_TEAMS.c.event_id == event_id)
            .order_by(_EVENT_TEAMS.c.id)
        )
        members, users = self._members(), self._users()
        found = {}
        for row in self._connection.execute(query):
            if not row.approved:
                self._left_out["teams that were not admitted"] += 1
                continue
            ids = dict.fromkeys([row.admin_id, *members.get(row.team_id, [])])
            found[row.id] = OldTeam(
                row.name,
                _aware(row.creation_timestamp),
                _aware(row.signup_timestamp),
                tuple(users[one] for one in ids if one in users),
            )
        return found

    def _members(self) -> dict[int, list[int]]:
        if _MEMBERS.name not in inspect(self._connection).get_table_names():
            return {}
        found: dict[int, list[int]] = {}
        for row in self._connection.execute(select(_MEMBERS).order_by(_MEMBERS.c.user_id)):
            if row.status == "accepted":  # an enumeration of PostgreSQL, not text, to its SQL
                found.setdefault(row.team_id, []).append(row.user_id)
        return found

    def _users(self) -> dict[int, OldUser]:
        return {
            row.id: OldUser(
                row.name,
                row.firstname,
                row.lastname,
                row.email,
                row.access_level,
                _aware(row.signup_timestamp),
            )
            for row in self._connection.execute(select(_USERS))
        }

    def _submissions(self, event: Any, teams: dict[int, str]) -> list[OldSubmission]:
        query = select(_SUBMISSIONS).where(_SUBMISSIONS.c.event_team_id.in_(teams))
        query = query.order_by(_SUBMISSIONS.c.submission_timestamp, _SUBMISSIONS.c.id)
        paths = self._paths(list(teams))
        found = []
        for row in self._connection.execute(query):
            reason = _why_not(row, event.ramp_sandbox_name)
            if reason is not None:
                self._left_out[reason] += 1
                continue
            submitted_at = _aware(row.submission_timestamp)
            files = tuple(paths.get(row.id, ()))
            team = teams[row.event_team_id]
            found.append(OldSubmission(row.id, team, row.name, submitted_at, row.state, files))
        return found

    def _paths(self, sign_ups: list[int]) -> dict[int, list[str]]:
        query = (
            select(
                _FILES.c.submission_id,
                _ELEMENT_TYPES.c.name.label("stem"),
                _EXTENSIONS.c.name.label("extension"),
            )
            .join_from(_FILES, _SUBMISSIONS, _SUBMISSIONS.c.id == _FILES.c.submission_id)
            .join(_ELEMENTS, _ELEMENTS.c.id == _FILES.c.workflow_element_id)
            .join(_ELEMENT_TYPES, _ELEMENT_TYPES.c.id == _ELEMENTS.c.workflow_element_type_id)
            .join(
                _TYPE_EXTENSIONS,
                _TYPE_EXTENSIONS.c.id == _FILES.c.submission_file_type_extension_id,
            )
            .join(_EXTENSIONS, _EXTENSIONS.c.id == _TYPE_EXTENSIONS.c.extension_id)
            .where(_SUBMISSIONS.c.event_team_id.in_(sign_ups))
        )
        found: dict[int, list[str]] = {}
        for row in self._connection.execute(query):
            found.setdefault(row.submission_id, []).append(f"{row.stem}.{row.extension}")
        return found


def _why_not(row: Any, sandbox_name: str) -> str | None:
    if row.name == sandbox_name:
        return "starting kits, of which RAMP makes a copy for each team"
    if row.is_valid is not None and not row.is_valid:
        return "submissions that were deleted"
    if row.type == "test":
        return "submissions of the type 'test'"
    return None


def _aware(time: datetime) -> datetime:
    """Take a time of RAMP's, which is UTC without saying so."""
    return time.replace(tzinfo=UTC)
