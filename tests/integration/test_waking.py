"""A dispatcher starts what there is to start at once, and never misses it for long."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from ramp_database import dispatchers, queue, submissions
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_submission
from ramp_engine import dispatcher as dispatcher_module
from ramp_engine.testing import canned_scores
from tests.integration.dispatching import LONG, dispatching, row, submit, wait_for


@pytest.fixture
def no_full_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first turn does everything, and no later one: nothing happens but on a wake-up."""
    monkeypatch.setattr(dispatcher_module, "FULL_TURN_SECONDS", 3600.0)


@pytest.mark.usefixtures("no_full_turns")
def test_a_submission_to_an_idle_dispatcher_starts_at_once(
    database: Database, tmp_path: Path
) -> None:
    with dispatching(database, tmp_path) as witness:
        for n in range(1, 4):
            submit(database)
            assert witness.sees(lambda w, n=n: len(w.ended) == n)  # type: ignore[misc]
    assert row(database, witness.ended[0]).state is State.SCORED


@pytest.mark.usefixtures("no_full_turns")
def test_the_end_of_a_run_starts_the_next_one(database: Database, tmp_path: Path) -> None:
    with dispatching(database, tmp_path, n_workers=1) as witness:
        with database.session() as session:
            ids = [add_toy_submission(session).id for _ in range(5)]
        assert witness.sees(lambda w: len(w.ended) == 5)
    assert witness.started == ids


@pytest.mark.usefixtures("no_full_turns")
def test_the_next_submission_starts_while_one_is_scored(database: Database, tmp_path: Path) -> None:
    let_go = threading.Event()

    def score_late(*arguments: Any) -> Results:
        assert let_go.wait(LONG)
        return canned_scores(*arguments)

    with dispatching(database, tmp_path, score_late, n_workers=1) as witness:
        with database.session() as session:
            ids = [add_toy_submission(session).id for _ in range(3)]
        assert witness.sees(lambda w: len(w.runs) == 2)
        assert wait_for(lambda: witness.runs[1].phase == "scoring")
        assert witness.started == ids[:2]  # two that are scored are as many as may be, for one slot
        let_go.set()
        assert witness.sees(lambda w: len(w.ended) == 3)
    assert {row(database, number).state for number in ids} == {State.SCORED}


@pytest.mark.usefixtures("no_full_turns")
def test_a_cancel_reaches_the_run_at_once(database: Database, tmp_path: Path) -> None:
    with dispatching(database, tmp_path, worker={"seconds": 3600.0}, timeout=7200.0) as witness:
        submission_id = submit(database)
        assert witness.sees(lambda w: len(w.started) == 1)
        with database.session() as session:
            queue.cancel(session, submission_id, "no more")
        assert witness.sees(lambda w: len(w.ended) == 1)
    assert row(database, submission_id).state is State.CANCELED


@pytest.mark.usefixtures("no_full_turns")
def test_a_delayed_submission_starts_when_it_is_due(database: Database, tmp_path: Path) -> None:
    with dispatching(database, tmp_path, n_workers=1) as witness:
        first = submit(database)
        assert witness.sees(lambda w: w.ended == [first])
        with database.session() as session:  # somebody else claims another one and crashes
            event_id = submissions.get(session, first).event_id
            other = dispatchers.register(session, event_id, "elsewhere", 7)
            second = add_toy_submission(session).id
            (claim,) = queue.claim(session, event_id, other, 1)
            queue.crash(session, claim, "broken", 3)
        assert witness.sees(lambda w: w.ended == [first, second])


def test_a_submission_is_found_without_any_announcement(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There never is a connection to hear one."""

    def refuse() -> None:
        raise database.engine.dialect.loaded_dbapi.OperationalError("planted")

    monkeypatch.setattr(database, "connect_apart", refuse)
    monkeypatch.setattr(dispatcher_module, "FULL_TURN_SECONDS", 0.2)
    with dispatching(database, tmp_path) as witness:
        for n in (1, 2):
            submit(database)
            assert witness.sees(lambda w, n=n: len(w.ended) == n)  # type: ignore[misc]
