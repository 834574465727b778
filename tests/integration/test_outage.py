"""An outage of the database costs no attempt, however it comes about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from ramp_database import events, model
from ramp_database.model import Submission
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_database.testing_server import PostgreSQLServer, temporary_server
from ramp_engine.config import EventConfig
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.testing import canned_scores, deploy_fake_event, violations, violations_on_disk
from tests.integration.mortal import WORKER_TYPE, dispatcher_processes, forgeries, wait_until

N_SUBMISSIONS = 36
STALE_SECONDS = 3.0
SETTINGS = {
    "n_workers": 3,
    "n_threads": 1,
    "heartbeat_seconds": 0.5,
    "stale_after_seconds": STALE_SECONDS,
    "stalled_after_seconds": STALE_SECONDS,  # nobody is taken for dead on a loaded machine
}


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQLServer]:
    """A server that tests may end; what was committed is there when it starts again."""
    with temporary_server(is_durable=True) as server:
        yield server


@pytest.fixture
def database(server: PostgreSQLServer, tmp_path: Path) -> Iterator[Database]:
    name = f"test_{time.monotonic_ns()}"
    server.admin(f"CREATE DATABASE {name}")
    database = Database(server.url(name))
    database.upgrade()
    yield database
    database.dispose()
    server.admin(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    worker = {"worker_type": WORKER_TYPE, "seconds": 0.3}
    event = deploy_fake_event(database, tmp_path, worker=worker, **SETTINGS)
    with database.session() as session:
        for _ in range(N_SUBMISSIONS):
            add_toy_submission(session)
    return event


def n_in(database: Database, state: State) -> int:
    with database.session(read_only=True) as session:
        query = select(func.count()).select_from(Submission)
        return session.execute(query.where(Submission.state == state)).scalar_one()


def n_owners(database: Database) -> int:
    with database.session(read_only=True) as session:
        query = select(func.count(Submission.dispatcher_id.distinct()))
        return session.execute(query).scalar_one()


def stay_away(_server: PostgreSQLServer) -> None:
    """Let everybody's heartbeat become stale: the length of an outage is what it is about."""
    threading.Event().wait(1.5 * STALE_SECONDS)


def restart(server: PostgreSQLServer) -> None:
    server.stop(is_crash=False)
    server.start()


def crash(server: PostgreSQLServer) -> None:
    server.stop()
    stay_away(server)
    server.start()


def cut_off(server: PostgreSQLServer) -> None:
    server.admin(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ramp'"
    )


@pytest.mark.parametrize("harm", [restart, crash, cut_off])
def test_what_runs_during_an_outage_is_recorded_once_and_not_run_again(
    server: PostgreSQLServer,
    database: Database,
    event: EventConfig,
    harm: Callable[[PostgreSQLServer], None],
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    with dispatcher_processes(2, url, event) as processes:
        wait_until(lambda: n_owners(database) == 2, "both have claimed")
        wait_until(lambda: n_in(database, State.SCORED) > 4, "some are scored")
        wait_until(lambda: n_in(database, State.TRAINING) > 2, "some run")
        database.dispose()
        harm(server)
        database.dispose()
        assert [process.wait() for process in processes] == [0, 0]
    check(database, event)


class LossyDatabase(Database):
    """A database whose answer to every so many COMMITs is lost: what was written is there."""

    def __init__(self, url: str, every: int) -> None:
        super().__init__(url)
        self._every = every
        self._n_commits = 0
        self._lock = threading.Lock()

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        with super().session(read_only=read_only) as session:
            yield session
        with self._lock:
            self._n_commits += 1
            is_lost = self._n_commits % self._every == 0
        if is_lost:
            raise DatabaseUnavailableError(self.label, "the answer is lost")


@pytest.mark.parametrize("every", range(3, 8))
def test_an_answer_that_is_lost_after_the_commit_costs_no_attempt(
    sqlite_url: str, tmp_path: Path, every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ramp_engine.recording.DATABASE_RETRY_SECONDS", 0.01)
    monkeypatch.setattr("ramp_engine.dispatcher.RETRY_SECONDS", 0.1)
    database, lossy = Database(sqlite_url), LossyDatabase(sqlite_url, every)
    event = deploy_fake_event(database, tmp_path, worker={"worker_type": WORKER_TYPE}, n_threads=1)
    with database.session() as session:
        for _ in range(6):
            add_toy_submission(session)
    until_done(lossy, event)
    with database.session() as session:
        rows = session.execute(select(Submission.state, Submission.attempt)).all()
        assert violations(session, 1) == []
        assert violations_on_disk(session, 1, event) == []
    assert set(rows) == {(State.SCORED, 1)}
    for one in (database, lossy):
        one.dispose()


def until_done(database: Database, event: EventConfig) -> None:
    """Start a dispatcher again when the answer to its registration was lost, which ends it."""
    for _ in range(5):
        with suppress(DatabaseUnavailableError):
            return Dispatcher(database, event, is_exiting_when_done=True, score=canned_scores).run()
    raise AssertionError("no dispatcher could start")


def check(database: Database, event: EventConfig) -> None:
    with database.session(read_only=True) as session:
        event_id = events.get_event(session, TOY).id
        assert violations(session, event_id) == []
        assert violations_on_disk(session, event_id, event) == []
        rows = session.execute(select(Submission.state, Submission.attempt)).all()
        reasons = session.scalars(select(model.Dispatcher.ended_reason)).all()
    assert set(rows) == {(State.SCORED, 1)}
    assert reasons == ["ended", "ended"], "nobody was taken for dead"
    assert forgeries(database, event, event_id) == []
