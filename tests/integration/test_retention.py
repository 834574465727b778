"""Stored predictions go on request: those that were meant, of what is finished, and recorded so."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Connection
from sqlalchemy import event as events_of_engine

from ramp_database import history, predictions, queue
from ramp_database.predictions import Selection, select_finished
from ramp_database.session import Database
from ramp_database.submissions import directory_name
from ramp_engine import narrative, retention
from ramp_engine.config import EventConfig
from ramp_engine.leftovers import Sweeper
from ramp_engine.retention import Stored
from ramp_engine.testing import deploy_fake_event
from ramp_engine.testing.invariants import violations
from tests.integration.dispatching import dispatching_event, submit


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    """An event of which submissions 1 and 2 are scored."""
    event = deploy_fake_event(database, tmp_path)
    with dispatching_event(database, event) as witness:
        assert [submit(database), submit(database)] == [1, 2]
        assert witness.sees(lambda w: len(w.ended) == 2)
    return event


def stored(database: Database, event: EventConfig) -> list[Stored]:
    with database.session(read_only=True) as session:
        finished = select_finished(session, 1, Selection())
    return retention.find_stored(finished, event.ramp.predictions_dir)


def reopen(database: Database) -> None:
    with database.session() as session:
        queue.reopen(session, 1, "again")


def names(event: EventConfig) -> list[str]:
    return sorted(path.name for path in event.ramp.predictions_dir.iterdir())


def test_what_is_deleted_is_gone_counted_and_in_the_history(
    database: Database, event: EventConfig
) -> None:
    first, _ = stored(database, event)
    files = [path for path in first.directory.rglob("*") if path.is_file()]
    assert first.n_bytes >= 512 * sum(path.stat().st_blocks for path in files) > 0
    assert retention.delete(database, first)
    assert names(event) == [directory_name(2)]
    assert [one.submission_id for one in stored(database, event)] == [2]
    with database.session(read_only=True) as session:
        assert predictions.deleted_at(session, 1, 1) is not None
        assert predictions.deleted_at(session, 2, 1) is None
        assert violations(session, 1) == []
        told = narrative.tell(history.read(session, 1)).steps[-1]
    assert "predictions were deleted" in told.what
    assert told.who == "by hand"


def test_what_is_evaluated_anew_since_it_was_found_is_left_alone(
    database: Database, event: EventConfig
) -> None:
    first, second = stored(database, event)
    reopen(database)
    assert not retention.delete(database, first), "it waits"
    with dispatching_event(database, event) as witness:
        assert witness.sees(lambda w: 1 in w.ended)
        assert not retention.delete(database, first), "these are the predictions of attempt 2"
        assert retention.delete(database, second), "beside a dispatcher"
    assert names(event) == [directory_name(1)]
    with database.session(read_only=True) as session:
        assert predictions.deleted_at(session, 1, 2) is None


def test_predictions_that_are_gone_already_are_not_recorded_as_deleted(
    database: Database, event: EventConfig
) -> None:
    first, _ = stored(database, event)
    assert retention.delete(database, first)
    with database.session(read_only=True) as session:
        at = predictions.deleted_at(session, 1, 1)
    assert not retention.delete(database, first)
    with database.session(read_only=True) as session:
        assert predictions.deleted_at(session, 1, 1) == at


def test_a_transaction_that_fails_puts_them_back(database: Database, event: EventConfig) -> None:
    first, _ = stored(database, event)
    before = sorted(first.directory.rglob("*"))

    def refuse(_connection: Connection) -> None:
        raise ConnectionResetError

    events_of_engine.listen(database.engine, "commit", refuse)
    try:
        with pytest.raises(ConnectionResetError):
            retention.delete(database, first)
    finally:
        events_of_engine.remove(database.engine, "commit", refuse)
    assert sorted(first.directory.rglob("*")) == before
    with database.session(read_only=True) as session:
        assert predictions.deleted_at(session, 1, 1) is None


def test_what_a_killed_deletion_left_is_swept_up(database: Database, event: EventConfig) -> None:
    first, _ = stored(database, event)
    aside = first.directory.rename(retention.aside(first))
    Sweeper(database, event, 1).sweep()
    assert not aside.exists()
    assert names(event) == [directory_name(2)]
