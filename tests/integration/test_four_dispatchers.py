"""Four dispatchers on one event: some are killed, one is paused and comes back."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import func, select

from ramp_database import events, queue
from ramp_database.model import Dispatcher, Submission
from ramp_database.session import Database
from ramp_database.states import FINAL, State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine.config import EventConfig
from ramp_engine.testing import deploy_fake_event, violations, violations_on_disk
from tests.integration.mortal import (
    DispatcherProcess,
    dispatcher_processes,
    forgeries,
    is_failing,
    wait_until,
)

N_TEAMS, N_EACH = 8, 15
SETTINGS = {
    "n_workers": 4,
    "n_threads": 1,
    "heartbeat_seconds": 0.4,
    "stale_after_seconds": 2.0,
    "time_between_collection": 0.1,  # folds are handed over before the end, and kept
    "max_attempts": 20,  # a loaded machine may hold up those that live as well
}


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    """An event with submissions that wait."""
    worker = {"worker_type": "tests.integration.mortal:MixedWorker", "seconds": 0.4}
    event = deploy_fake_event(database, tmp_path, worker=worker, **SETTINGS)
    with database.session() as session:
        for number in range(N_TEAMS * N_EACH):
            add_toy_submission(session, TOY, f"team {number % N_TEAMS}")
    return event


def rows_of(database: Database, process: DispatcherProcess) -> list[Dispatcher]:
    with database.session(read_only=True) as session:
        query = select(Dispatcher).where(Dispatcher.pid == process.pid)
        return list(session.scalars(query.order_by(Dispatcher.id)))


def has_ended(database: Database, process: DispatcherProcess) -> bool:
    return rows_of(database, process)[-1].ended_at is not None


def is_at_work(database: Database, process: DispatcherProcess) -> bool:
    """Tell whether some of its submissions are in training."""
    with database.session(read_only=True) as session:
        query = select(Submission.id).join(Dispatcher, Dispatcher.id == Submission.dispatcher_id)
        mine = query.where(Dispatcher.pid == process.pid, Submission.state == State.TRAINING)
        return session.execute(mine.limit(1)).first() is not None


def in_training(database: Database, dispatcher_id: int | None = None) -> set[int]:
    """List what is in training at somebody's; None: at anybody's who has not ended."""
    query = select(Submission.id).join(Dispatcher, Dispatcher.id == Submission.dispatcher_id)
    query = query.where(Submission.state == State.TRAINING)
    owner = (
        Dispatcher.ended_at.is_(None) if dispatcher_id is None else Dispatcher.id == dispatcher_id
    )
    with database.session(read_only=True) as session:
        return set(session.scalars(query.where(owner)))


def holds_no_lock(database: Database, process: DispatcherProcess) -> bool:
    """Tell whether one who is paused does not keep others from finding it dead.

    On SQLite that is any transaction of its, for as long as it is paused; on PostgreSQL a
    heartbeat, until the server ends it.
    """
    if database.engine.dialect.name == "postgresql":
        query = select(Dispatcher.id).where(Dispatcher.pid == process.pid)
        with database.session() as session:
            return bool(session.scalars(query.with_for_update(skip_locked=True)).all())
    connection = sqlite3.connect(str(database.engine.url.database), timeout=1.0)
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.close()
    return True


def pause_at_work(database: Database, process: DispatcherProcess) -> None:
    """Pause a dispatcher while it has runs, and no lock that others wait for."""

    def is_paused() -> bool:
        process.pause()
        if is_at_work(database, process) and holds_no_lock(database, process):
            return True
        process.send(signal.SIGCONT)
        return False

    wait_until(is_paused, "a dispatcher at work")


def n_ended(database: Database) -> int:
    with database.session(read_only=True) as session:
        query = select(func.count()).select_from(Submission)
        return session.execute(query.where(Submission.state.in_(FINAL))).scalar_one()


def give_up_some(database: Database) -> list[int]:
    """Cancel a few: some wait, some are owned by the living, the dead or the paused."""
    with database.session() as session:
        query = select(Submission.id).where(Submission.state.not_in(FINAL), Submission.id % 5 == 1)
        ids = list(session.scalars(query.with_for_update(skip_locked=True)))
        for id_ in ids:
            queue.cancel(session, id_, "no more")
    return ids


def test_two_are_killed_and_one_is_paused_and_all_is_recorded_once(
    database: Database, event: EventConfig
) -> None:
    url = database.engine.url.render_as_string(hide_password=False)
    with dispatcher_processes(4, url, event) as processes:
        *killed, paused, _ = processes
        wait_until(lambda: all(is_at_work(database, one) for one in processes), "all four work")
        for process in (*killed, paused):
            pause_at_work(database, process)
        its_own = in_training(database, rows_of(database, paused)[-1].id)
        for process in killed:
            process.end()
        given_up = give_up_some(database)
        wait_until(lambda: has_ended(database, paused), "the paused one is taken for dead")
        taken_for_dead = rows_of(database, paused)[-1].id
        # its runs wake up to a submission in the state in which they left it, at another owner
        wait_until(
            lambda: bool(its_own & in_training(database)), "another one runs what it had begun"
        )
        paused.send(signal.SIGCONT)
        assert [process.wait() for process in processes[2:]] == [0, 0]
    check(database, event, set(given_up))
    assert rows_of(database, paused)[-1].id != taken_for_dead, "it came back as another dispatcher"


def check(database: Database, event: EventConfig, given_up: set[int]) -> None:
    with database.session(read_only=True) as session:
        event_id = events.get_event(session, TOY).id
        assert violations(session, event_id) == []
        assert violations_on_disk(session, event_id, event) == []
        rows = session.scalars(select(Submission)).all()
    assert forgeries(database, event, event_id) == []
    assert len(rows) == N_TEAMS * N_EACH
    wrong = [f"{row.id}: {row.state}" for row in rows if row.state not in expected(row, given_up)]
    assert wrong == []
    assert any(row.n_crashes for row in rows), "the killed ones owned something"
    assert {row.state for row in rows} == {State.SCORED, State.TRAINING_ERROR, State.CANCELED}


def expected(row: Submission, given_up: set[int]) -> set[State]:
    end = State.TRAINING_ERROR if is_failing(row.id) else State.SCORED
    return {end, State.CANCELED} if row.id in given_up else {end}
