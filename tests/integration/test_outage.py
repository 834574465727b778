"""An outage of the database costs no attempt, however it comes about."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ramp_database import events
from ramp_database.model import Dispatcher, Submission
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_database.testing_server import PostgreSQLServer, temporary_server
from ramp_engine.config import EventConfig
from ramp_engine.testing import deploy_fake_event, violations, violations_on_disk
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


def check(database: Database, event: EventConfig) -> None:
    with database.session(read_only=True) as session:
        event_id = events.get_event(session, TOY).id
        assert violations(session, event_id) == []
        assert violations_on_disk(session, event_id, event) == []
        rows = session.execute(select(Submission.state, Submission.attempt)).all()
        reasons = session.scalars(select(Dispatcher.ended_reason)).all()
    assert set(rows) == {(State.SCORED, 1)}
    assert reasons == ["ended", "ended"], "nobody was taken for dead"
    assert forgeries(database, event, event_id) == []
