"""The stage, the troubles and the meter of a rehearsal, on real databases and files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import inspect, text

from ramp_database import events
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_event, add_toy_submission
from ramp_engine.config_sections import DispatcherSection
from ramp_engine.errors import DatabaseError, DatabaseUnavailableError, RampError
from ramp_engine.rehearsal.invariants import Expectation, find_violations
from ramp_engine.rehearsal.meter import Meter, read_costs, reporting
from ramp_engine.rehearsal.plan import Settings
from ramp_engine.rehearsal.records import read_records
from ramp_engine.rehearsal.stage import Stage, end_connections, set_up
from ramp_engine.rehearsal.troubles import refuse_statements
from tests.postgresql import Server

SETTINGS = Settings(n_teams=2, n_submissions=3, seconds=0.1, arrival_seconds=1)
KEYS = DispatcherSection().model_dump(mode="json", exclude_none=True)


def schemas(database: Database) -> set[str]:
    """Name what a rehearsal may have left in a database, or beside its file."""
    if database.engine.dialect.name == "sqlite":
        return {path.name for path in Path(str(database.engine.url.database)).parent.iterdir()}
    return set(inspect(database.engine).get_schema_names())


def test_what_happens_on_a_stage_stays_there_and_goes_with_it(
    database: Database, tmp_path: Path
) -> None:
    with database.session() as session:
        real = add_toy_event(session).id
    before = schemas(database)
    with set_up(database, tmp_path, SETTINGS, KEYS) as stage:
        with stage.database.session() as session:
            assert add_toy_submission(session).event_id != real or not stage.is_postgresql
        assert stage.event.path.is_file()
    with database.session() as session:
        assert session.scalar(text("SELECT count(*) FROM submissions")) == 0
    assert schemas(database) - before <= {"ramp.db-wal", "ramp.db-shm"}
    assert not stage.directory.exists()


def test_a_stage_is_cleared_when_the_play_fails(database: Database, tmp_path: Path) -> None:
    before = schemas(database)

    def fail() -> None:
        with set_up(database, tmp_path, SETTINGS, KEYS) as stage:
            with stage.database.session() as session:
                add_toy_submission(session)
            raise RuntimeError(stage.name)

    with pytest.raises(RuntimeError, match="ramp_rehearsal_") as failure:
        fail()
    assert schemas(database) - before <= {"ramp.db-wal", "ramp.db-shm"}
    assert not list(tmp_path.rglob(str(failure.value)))


def test_a_stage_can_be_kept(database: Database, tmp_path: Path) -> None:
    with set_up(database, tmp_path, SETTINGS, KEYS, is_kept=True) as stage:
        pass
    again = Database(stage.database.engine.url)
    with again.session() as session:
        assert events.get_event(session, TOY).name == TOY
    again.dispose()
    if stage.is_postgresql:
        assert stage.name in schemas(database)
        with database.engine.begin() as connection:
            connection.execute(text(f'DROP SCHEMA "{stage.name}" CASCADE'))


def test_only_the_connections_of_the_rehearsal_are_broken(
    postgresql_url: str, tmp_path: Path
) -> None:
    deployment = Database(postgresql_url)
    with set_up(deployment, tmp_path, SETTINGS, KEYS) as stage, deployment.session() as outer:
        pid = outer.scalar(text("SELECT pg_backend_pid()"))
        victim = stage.database.connect_apart()
        end_connections(deployment, stage.name)
        with pytest.raises(deployment.engine.dialect.loaded_dbapi.OperationalError):  # type: ignore[attr-defined]
            victim.execute("SELECT 1")
        victim.close()
        assert outer.scalar(text("SELECT pg_backend_pid()")) == pid
    deployment.dispose()


def test_a_user_who_may_not_make_schemas_is_told_what_to_ask_for(
    postgresql_server: Server, postgresql_url: str, tmp_path: Path
) -> None:
    postgresql_server.admin("CREATE ROLE plain_rehearser LOGIN")
    try:
        database = Database(postgresql_url.replace("postgres@", "plain_rehearser@"))
        with (
            pytest.raises(DatabaseError, match=r"GRANT CREATE ON DATABASE \w+ TO plain_rehearser"),
            set_up(database, tmp_path, SETTINGS, KEYS),
        ):
            pass
        database.dispose()
    finally:
        postgresql_server.admin("DROP ROLE plain_rehearser")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_told(postgresql_url: str, tmp_path: Path) -> None:
    database = Database(postgresql_url)
    with (
        pytest.raises(RampError, match="needs a folder"),
        set_up(database, tmp_path / "nowhere", SETTINGS, KEYS),
    ):
        pass
    database.dispose()


FULL_DISK = """
import pathlib, sys
from ramp_engine.rehearsal.troubles import refuse_writes
inside, outside = map(pathlib.Path, sys.argv[1:])
(inside / "before").write_text("x")
state = []
refuse_writes(inside, lambda: bool(state))
(inside / "still").write_text("x")
state.append(True)
for work in (lambda: (inside / "file").write_text("x"), lambda: (inside / "folder").mkdir()):
    try:
        work()
    except OSError as error:
        print(error.strerror)
(outside / "file").write_text((inside / "before").read_text())
"""


def test_a_full_disk_refuses_writes_below_one_folder_and_nothing_else(tmp_path: Path) -> None:
    """In a process of its own: the hook stays as long as the interpreter."""
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(inside), str(outside)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split("\n") == ["No space left on device"] * 2 + [""]
    assert (outside / "file").read_text() == "x"
    assert sorted(path.name for path in inside.iterdir()) == ["before", "still"]


def test_some_statements_are_refused_while_that_lasts(database: Database) -> None:
    is_on = True
    refuse_statements(database.engine, lambda: is_on)
    answers = []
    for _ in range(60):
        try:
            with database.session() as session:
                answers.append(session.scalar(text("SELECT 1")))
        except DatabaseUnavailableError:
            answers.append(None)
    assert 0 < answers.count(None) < 60
    is_on = False
    with database.session() as session:
        assert session.scalar(text("SELECT 1")) == 1


@pytest.fixture
def stage(database: Database, tmp_path: Path) -> Iterator[Stage]:
    with set_up(database, tmp_path, SETTINGS, KEYS) as made:
        yield made


def test_the_meter_counts_statements_and_the_time_they_take(stage: Stage) -> None:
    meter = Meter(stage.database.engine)
    with reporting(meter, stage.reports_dir):
        for _ in range(4):
            with stage.database.session() as session:
                session.execute(text("SELECT 1"))
    (costs,) = read_costs(stage.reports_dir)
    assert costs.n_statements == 4
    assert 0 < costs.database_seconds < costs.wall_seconds
    assert (costs.lock_seconds > 0) is not stage.is_postgresql


def test_reading_costs_no_lock(stage: Stage) -> None:
    meter = Meter(stage.database.engine)
    with stage.database.session(read_only=True) as session:
        session.execute(text("SELECT 1"))
    found: Any = meter.read()
    assert (found.n_statements, found.lock_seconds) == (1, 0)


def test_what_holds_for_all_events_is_checked_of_a_rehearsal_too(stage: Stage) -> None:
    with stage.database.session() as session:
        name = add_toy_submission(session).name
        expected = Expectation({name: frozenset({State.NEW})}, 3, 20)
        leftover = stage.event.ramp.work_dir / "attempts" / "submission_000000001-1-1"
        leftover.mkdir(parents=True)
        found = find_violations(session, stage.event, read_records(session, TOY), expected)
    assert found == [
        "submission 1: it is new, which is not final",
        f"left behind: {leftover}",
    ]
