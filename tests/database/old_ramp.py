"""A database as RAMP (ramp-board) makes it: the tables and columns that matter, and others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    DateTime,
    Engine,
    Enum,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    insert,
)

#: When everything happened that has no time of its own; UTC, as RAMP writes it.
LONG_AGO = datetime(2023, 3, 1, 12, 0)

metadata = MetaData()


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, metadata, Column("id", Integer, primary_key=True), *columns)


def _key(name: str, target: str, *, is_needed: bool = True) -> Column[int]:
    return Column(name, Integer, ForeignKey(f"{target}.id"), nullable=not is_needed)


users = _table(
    "users",
    Column("name", String(20), nullable=False, unique=True),
    Column("hashed_password", String, nullable=False),
    Column("lastname", String(256), nullable=False),
    Column("firstname", String(256), nullable=False),
    Column("email", String(256), nullable=False, unique=True),
    Column("access_level", Enum("admin", "user", "asked", "not_confirmed", name="access_level")),
    Column("signup_timestamp", DateTime, nullable=False),
)
teams = _table(
    "teams",
    Column("name", String(20), nullable=False, unique=True),
    _key("admin_id", "users", is_needed=False),
    Column("is_individual", Boolean, default=True, nullable=False),
    Column("creation_timestamp", DateTime, nullable=False),
)
user_teams = _table(
    "user_teams",
    _key("user_id", "users", is_needed=False),
    _key("team_id", "teams", is_needed=False),
    Column("status", Enum("asked", "accepted", name="status")),
)
events = _table(
    "events",
    Column("name", String, nullable=False, unique=True),
    Column("title", String, nullable=False),
    Column("ramp_sandbox_name", String, nullable=False),
    Column("path_ramp_submissions", String, nullable=False),
)
event_teams = _table(
    "event_teams",
    _key("event_id", "events"),
    _key("team_id", "teams"),
    Column("signup_timestamp", DateTime, nullable=False),
    Column("approved", Boolean, default=False),
)
file_types = _table("submission_file_types", Column("name", String, nullable=False, unique=True))
extensions = _table("extensions", Column("name", String, nullable=False, unique=True))
type_extensions = _table(
    "submission_file_type_extensions",
    _key("type_id", "submission_file_types"),
    _key("extension_id", "extensions"),
)
element_types = _table(
    "workflow_element_types",
    Column("name", String, nullable=False, unique=True),
    _key("type_id", "submission_file_types"),
)
elements = _table(
    "workflow_elements",
    Column("name", String, nullable=False),
    _key("workflow_element_type_id", "workflow_element_types"),
)
submissions = _table(
    "submissions",
    _key("event_team_id", "event_teams"),
    Column("name", String(20), nullable=False),
    Column("hash_", String, nullable=False, unique=True),
    Column("submission_timestamp", DateTime, nullable=False),
    Column("contributivity", Float, default=0.0),
    Column("type", Enum("live", "test", name="submission_types"), default="live"),
    Column("state", String, default="new"),
    Column("is_valid", Boolean, default=True),
)
submission_files = _table(
    "submission_files",
    _key("submission_id", "submissions"),
    _key("workflow_element_id", "workflow_elements"),
    _key("submission_file_type_extension_id", "submission_file_type_extensions"),
)


@dataclass
class OldRamp:
    """RAMP with the event ``toy``, whose submissions bring ``estimator.py``."""

    url: str
    folder: Path  #: where the files of its submissions are
    engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        self.engine = create_engine(self.url.replace("postgresql:", "postgresql+psycopg:"))
        metadata.create_all(self.engine)
        self.folder.mkdir()
        self._insert(
            events,
            name="toy",
            title="Toy",
            ramp_sandbox_name="starting_kit",
            path_ramp_submissions=str(self.folder),
        )
        for table in (file_types, extensions):
            self._insert(table, name="py")
        self._insert(type_extensions, type_id=1, extension_id=1)
        self._insert(element_types, name="estimator", type_id=1)
        self._insert(elements, name="estimator", workflow_element_type_id=1)

    def _insert(self, table: Table, **values: Any) -> int:
        with self.engine.begin() as connection:
            key = connection.execute(insert(table).values(**values)).inserted_primary_key
        assert key is not None
        return int(key[0])

    def user(self, name: str, *, access_level: str = "user") -> int:
        return self._insert(
            users,
            name=name,
            hashed_password="$2b$12$secret",
            lastname=name.title(),
            firstname="F",
            email=f"{name}@example.org",
            access_level=access_level,
            signup_timestamp=LONG_AGO,
        )

    def team(
        self, name: str, admin: int, members: Sequence[int] = (), *, is_approved: bool = True
    ) -> int:
        """Add a team, sign it up, and give the number of its sign-up."""
        team = self._insert(teams, name=name, admin_id=admin, creation_timestamp=LONG_AGO)
        for member in members:
            self._insert(user_teams, user_id=member, team_id=team, status="accepted")
        return self._insert(
            event_teams,
            event_id=1,
            team_id=team,
            signup_timestamp=LONG_AGO,
            approved=is_approved,
        )

    def submission(self, sign_up: int, name: str, code: str | None = None, **values: Any) -> int:
        """Add a submission, with a folder unless there is no code."""
        given = {"submission_timestamp": LONG_AGO, "state": "scored"} | values
        number = self._insert(
            submissions, event_team_id=sign_up, name=name, hash_=f"{sign_up}{name}", **given
        )
        self._insert(
            submission_files,
            submission_id=number,
            workflow_element_id=1,
            submission_file_type_extension_id=1,
        )
        if code is not None:
            self.write(number, code)
        return number

    def write(self, number: int, code: str) -> None:
        """Write the code of a submission, beside what a run of RAMP leaves there."""
        folder = self.folder / f"submission_{number:09d}"
        (folder / "training_output").mkdir(parents=True, exist_ok=True)
        (folder / "training_output" / "scores.csv").write_text("acc,1.0")
        (folder / "left_by_a_run.bin").write_bytes(b"\xff")
        (folder / "estimator.py").write_text(code)
