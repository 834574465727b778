"""Who watches an event's queue learns of work at once, and of nothing else."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import text

from ramp_database import changes, dispatchers, queue
from ramp_database.changes import ChangeWatcher
from ramp_database.model import Submission
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_event, add_toy_submission, toy_results
from ramp_engine.testing import ManualClock
from tests.database.conftest import Toy

#: Long enough for what comes for sure, in seconds; nobody waits so long.
LONG = 240.0
#: Time that is given to what must not come, in seconds.
A_MOMENT = 0.15

#: What makes work: the state before, and the deed.
WORK: dict[str, tuple[State, Callable[[Toy, queue.Claim], Any]]] = {
    "submission": (State.NEW, lambda toy, _: toy.submit()),
    "release": (State.TRAINING, lambda toy, claim: toy.do(queue.release, claim, "shutdown")),
    "crash": (State.TRAINING, lambda toy, claim: toy.do(queue.crash, claim, "broken", 3)),
    "cancel": (State.TRAINING, lambda toy, c: toy.do(queue.cancel, c.submission_id, "no more")),
    "reopening": (State.SCORED, lambda toy, c: toy.do(queue.reopen, c.submission_id, "again")),
    "organiser": (
        State.TRAINING,
        lambda toy, c: toy.do(queue.set_state, c.submission_id, State.NEW, "by hand"),
    ),
}


def score(toy: Toy, claim: queue.Claim) -> None:
    toy.do(queue.finish, claim)
    toy.do(queue.score, claim, toy_results(0.5))


def rolled_back(toy: Toy, _claim: queue.Claim) -> None:
    with toy.session() as session:
        add_toy_submission(session)
        session.get_transaction().rollback()  # type: ignore[union-attr]


def of_another_event(toy: Toy, _claim: queue.Claim) -> None:
    with toy.session() as session:
        add_toy_event(session, "other")
        add_toy_submission(session, "other")


#: What makes none.
NO_WORK: dict[str, tuple[State, Callable[[Toy, queue.Claim], Any]]] = {
    "heartbeat": (State.NEW, lambda toy, claim: toy.do(dispatchers.beat, claim.dispatcher_id)),
    "claim": (State.NEW, lambda toy, _: toy.claim()),
    "start": (State.SENT_TO_TRAINING, lambda toy, claim: toy.do(queue.start, claim)),
    "score": (State.TRAINING, score),
    "rollback": (State.NEW, rolled_back),
    "other event": (State.NEW, of_another_event),
}


@pytest.fixture
def watcher(toy: Toy) -> Iterator[ChangeWatcher]:
    with changes.watch(toy.database, toy.event_id) as entered:
        yield entered


@pytest.mark.parametrize("name", list(WORK))
def test_work_is_noticed_once(toy: Toy, name: str) -> None:
    state, act = WORK[name]
    claim = toy.bring_to(state)
    with changes.watch(toy.database, toy.event_id) as watcher:
        act(toy, claim)
        assert watcher.wait(LONG)
        assert not watcher.wait(A_MOMENT)


@pytest.mark.parametrize("name", list(NO_WORK))
def test_what_makes_no_work_wakes_nobody(toy: Toy, name: str) -> None:
    state, act = NO_WORK[name]
    claim = toy.bring_to(state)
    with changes.watch(toy.database, toy.event_id) as watcher:
        act(toy, claim)
        assert not watcher.wait(A_MOMENT)


def test_work_that_comes_while_nobody_waits_is_noticed_at_the_next_wait(
    toy: Toy, watcher: ChangeWatcher
) -> None:
    toy.submit()
    toy.submit()
    assert watcher.wait(0) or watcher.wait(LONG)


def test_another_thread_ends_a_wait_without_work(toy: Toy, watcher: ChangeWatcher) -> None:
    thread = threading.Thread(target=watcher.wake)
    thread.start()
    assert not watcher.wait(LONG)
    thread.join()


def test_a_watcher_that_was_left_can_still_be_woken(toy: Toy) -> None:
    with changes.watch(toy.database, toy.event_id) as watcher:
        pass
    watcher.wake()


def test_work_that_came_while_the_connection_was_lost_is_noticed(postgresql_url: str) -> None:
    toy = Toy(Database(postgresql_url))
    with changes.watch(toy.database, toy.event_id) as watcher:
        assert drop_listeners(toy) == 1
        toy.submit()
        assert watcher.wait(LONG)
        assert not watcher.wait(0)
        toy.submit()
        assert watcher.wait(LONG)
    toy.database.dispose()


def drop_listeners(toy: Toy) -> int:
    """Break the connections that listen; give their number."""
    query = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE query ~ '^LISTEN'"
    with toy.session() as session:
        return len(session.execute(text(f"{query} AND pid <> pg_backend_pid()")).all())


def test_a_database_that_stays_away_is_asked_ever_more_rarely(
    toy: Toy, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    asked_at: list[float] = []

    def refuse() -> None:
        asked_at.append(clock())
        raise toy.database.engine.dialect.loaded_dbapi.OperationalError("planted")

    monkeypatch.setattr(toy.database, "connect_apart", refuse)
    with ChangeWatcher(toy.database, toy.event_id, clock) as watcher:
        for _ in range(10_000):
            clock.advance(0.05)
            assert not watcher.wait(0)
    gaps = [later - earlier for earlier, later in itertools.pairwise(asked_at)]
    assert gaps[:5] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6], abs=0.11)
    assert gaps[-1] == pytest.approx(changes.LONGEST_DELAY_SECONDS, abs=0.11)
    monkeypatch.undo()
    with watcher:
        toy.submit()
        assert watcher.wait(LONG)


def test_a_delay_is_told_with_what_is_open(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)
    toy.submit()
    with toy.session() as session:
        assert queue.outlook(session, toy.event_id) == queue.Outlook(2, None)
    toy.do(queue.crash, claim, "broken", 3)
    with toy.session() as session:
        outlook = queue.outlook(session, toy.event_id)
    assert outlook.n_open == 2
    assert outlook.due_seconds is not None
    assert 0 < outlook.due_seconds <= queue.retry_delay_seconds(1)
    with toy.session() as session:
        session.get_one(Submission, claim.submission_id).not_before = None
    with toy.session() as session:
        assert queue.outlook(session, toy.event_id) == queue.Outlook(2, None)
