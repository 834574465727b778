"""Connections, transactions, and the errors that leave them."""

from __future__ import annotations

import math
import socket
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, literal, select, text
from sqlalchemy.exc import SQLAlchemyError

import ramp_database.session
from ramp_database import clock, people
from ramp_database.errors import DatabaseError, DatabaseUnavailableError, RampError
from ramp_database.model import Team
from ramp_database.model.column_types import UTCDateTime
from ramp_database.session import Database, engine_for
from ramp_database.testing import temporary_database
from tests.postgresql import Server


def test_a_session_is_committed_at_its_end(database: Database) -> None:
    with database.session() as session:
        people.add_team(session, "red")
    with database.session() as session:
        assert people.get_team(session, "red").name == "red"


def test_a_session_that_fails_leaves_nothing(database: Database) -> None:
    def fail() -> None:
        with database.session() as session:
            people.add_team(session, "red")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with database.session() as session:
        assert people.list_teams(session) == []


def test_rows_can_be_read_after_their_session(database: Database) -> None:
    with database.session() as session:
        team = people.add_team(session, "red")
    assert team.name == "red"
    assert team.created_at.tzinfo is UTC


def test_a_read_only_session_refuses_to_write_on_postgresql(postgresql_url: str) -> None:
    database = Database(postgresql_url)
    with (
        pytest.raises(DatabaseError, match="read-only"),
        database.session(read_only=True) as session,
    ):
        people.add_team(session, "red")
    database.dispose()


def test_a_read_only_session_sees_one_state(database: Database) -> None:
    with database.session(read_only=True) as reader:
        assert people.list_teams(reader) == []
        with database.session() as writer:
            people.add_team(writer, "red")
        assert people.list_teams(reader) == []


def test_sqlite_is_set_up_for_many_processes(sqlite_url: str) -> None:
    database = Database(sqlite_url)
    with database.session() as session:
        found = {
            name: session.scalar(text(f"PRAGMA {name}"))
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 1,
        "foreign_keys": 1,
        "busy_timeout": 30_000,
    }
    database.dispose()


def test_times_are_aware_utc_and_compare_with_the_clock(database: Database) -> None:
    noon = datetime(2026, 7, 1, 14, 0, 0, 123456, tzinfo=UTC) + timedelta(hours=0)
    with database.session() as session:
        assert session.scalar(select(literal(noon, UTCDateTime))) == noon
        before = clock.read(session)
        assert before.tzinfo is UTC
        assert session.scalar(select(clock.now(-60.5) < before))
        assert session.scalar(select(clock.now(60.5) > before))
        assert not session.scalar(select(clock.now() < before))
        with clock.shifted(3600), clock.shifted(-60):
            assert 3540 <= (clock.read(session) - before).total_seconds() < 3840
        assert (clock.read(session) - before).total_seconds() < 300


def test_a_time_without_a_zone_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseError, match="without a zone"), database.session() as session:
        session.execute(insert(Team).values(name="red", created_at=datetime(2026, 7, 1)))


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        url = f"postgresql://ramp:secret@127.0.0.1:{bound.getsockname()[1]}/ramp"
        database = Database(url)
        with pytest.raises(DatabaseUnavailableError) as caught, database.session():
            pass
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value.__cause__, SQLAlchemyError)


def test_a_connection_that_is_lost_is_unavailable_and_the_next_is_new(
    postgresql_url: str, postgresql_server: Server
) -> None:
    database = Database(postgresql_url)

    def lose() -> None:
        with database.session() as session:
            pid = session.scalar(text("SELECT pg_backend_pid()"))
            postgresql_server.admin(f"SELECT pg_terminate_backend({pid}, 5000)")
            people.list_teams(session)

    with pytest.raises(DatabaseUnavailableError):
        lose()
    with database.session() as session:
        assert people.list_teams(session) == []
    database.dispose()


def test_a_transaction_in_which_nothing_happens_is_ended_by_the_server(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks go with it: who is paused in the midst of one keeps nobody waiting for ever."""
    other, paused = Database(postgresql_url), Database(postgresql_url)
    with other.session():
        pass  # its connection has the usual limit
    monkeypatch.setattr("ramp_database.session.IDLE_TRANSACTION_SECONDS", 0.1)

    def be_paused() -> None:
        with paused.session() as session:
            session.execute(text("LOCK TABLE events"))
            with other.session() as waiting:
                waiting.execute(text("LOCK TABLE events"))

    with pytest.raises(DatabaseUnavailableError):
        be_paused()
    paused.dispose()
    other.dispose()


def test_a_file_that_is_no_database_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "ramp.db"
    path.write_bytes(b"nothing of the sort" * 100)
    with (
        pytest.raises(DatabaseUnavailableError, match="not a database"),
        Database(f"sqlite:///{path}").session(),
    ):
        pass


def test_a_folder_that_is_missing_is_told(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'nowhere' / 'ramp.db'}")
    with pytest.raises(DatabaseUnavailableError, match="unable to open"), database.session():
        pass


def test_sqlite_that_stays_locked_is_unavailable(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ramp_database.session, "BUSY_TIMEOUT_SECONDS", 0.05)
    holder, waiter = Database(sqlite_url), Database(sqlite_url)
    with holder.session() as holding:
        people.list_teams(holding)
        with (
            pytest.raises(DatabaseUnavailableError, match="locked"),
            waiter.session() as waiting,
        ):
            people.list_teams(waiting)
    holder.dispose()
    waiter.dispose()


def test_a_statement_that_is_wrong_is_an_error_of_ours(database: Database) -> None:
    with pytest.raises(RampError) as caught, database.session() as session:
        session.execute(insert(Team).values(name="red"))
    assert isinstance(caught.value.__cause__, SQLAlchemyError)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "expected sqlite:///FILE"),
        ("mysql://localhost/ramp", "mysql is not supported"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_url_that_is_none_of_ours_is_refused(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words):
        engine_for(url)


@pytest.mark.parametrize("name", ["postgresql", "postgres", "postgresql+psycopg"])
def test_psycopg_is_the_driver_of_postgresql(name: str) -> None:
    assert engine_for(f"{name}://localhost/ramp").url.drivername == "postgresql+psycopg"


def test_a_missing_driver_is_told_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"pip install 'ramp-engine\[postgresql\]'") as caught:
        engine_for("postgresql://localhost/ramp")
    assert "\n" not in str(caught.value)


def test_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ramp_database.session, "network_file_system", lambda _: "nfs4")
    with pytest.raises(DatabaseError, match="nfs4"):
        engine_for(f"sqlite:///{tmp_path / 'ramp.db'}")


def test_a_relative_file_stays_the_same_when_the_program_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    database = Database("sqlite:///ramp.db")
    monkeypatch.chdir("/")
    with database.session():
        pass
    database.dispose()
    assert (tmp_path / "ramp.db").exists()


def test_a_throw_away_database_goes_with_its_block() -> None:
    with temporary_database() as database, database.session() as session:
        path = Path(str(database.engine.url.database))
        people.add_team(session, "red")
    assert not path.parent.exists()


def test_many_threads_may_share_a_database(database: Database) -> None:
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for step in range(5):
                with database.session() as session:
                    people.add_team(session, f"{number} {step}")
        except BaseException as error:  # noqa: BLE001
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with database.session() as session:
        assert len(people.list_teams(session)) == 20


@pytest.mark.parametrize("value", [0.1, -1e-300, 1.7976931348623157e308, math.pi])
def test_numbers_keep_their_full_precision(database: Database, value: float) -> None:
    found: Any
    with database.session() as session:
        session.execute(text("CREATE TABLE numbers (x DOUBLE PRECISION)"))
        session.execute(text("INSERT INTO numbers VALUES (:x)"), {"x": value})
        found = session.scalar(text("SELECT x FROM numbers"))
    assert found == value
