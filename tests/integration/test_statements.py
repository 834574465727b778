"""What a submission costs the database: the number of statements, from its claim to its score."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event as events_of_engine

from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_submission
from ramp_engine import dispatcher as dispatcher_module
from tests.integration.dispatching import dispatching, row, submit

#: The most statements that one submission may take, those that insert its fold scores left out.
MOST = 15


@contextmanager
def counting(database: Database) -> Iterator[list[str]]:
    """Collect the statements that are sent for submissions: no fold scores, no heartbeats."""
    sent: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith(("BEGIN", "INSERT INTO fold_", "UPDATE dispatchers")):
            sent.append(statement)

    events_of_engine.listen(database.engine, "before_cursor_execute", listen)
    try:
        yield sent
    finally:
        events_of_engine.remove(database.engine, "before_cursor_execute", listen)


@pytest.fixture
def elsewhere(database: Database) -> Iterator[Database]:
    """The same database, for those who submit: what they send is not counted."""
    other = Database(database.engine.url)
    yield other
    other.dispose()


@pytest.fixture(autouse=True)
def one_full_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a dispatcher does every few seconds does not belong to any submission."""
    monkeypatch.setattr(dispatcher_module, "FULL_TURN_SECONDS", 3600.0)


def test_a_submission_to_an_idle_dispatcher_takes_few_statements(
    database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    n = 4
    with dispatching(database, tmp_path, n_workers=2) as witness, counting(database) as sent:
        submit(elsewhere)
        assert witness.sees(lambda w: len(w.ended) == 1)
        before = len(sent)  # the first finds everything cold
        for number in range(2, n + 2):
            submit(elsewhere)
            assert witness.sees(lambda w, number=number: len(w.ended) == number)  # type: ignore[misc]
    assert row(elsewhere, witness.ended[-1]).state is State.SCORED
    assert len(sent) - before <= n * MOST, "\n".join(sent[before:])


def test_a_submission_of_a_long_queue_takes_few_statements(
    database: Database, elsewhere: Database, tmp_path: Path
) -> None:
    n = 12
    with dispatching(database, tmp_path, n_workers=2) as witness:
        submit(elsewhere)
        assert witness.sees(lambda w: len(w.ended) == 1)
        with counting(database) as sent:
            with elsewhere.session() as session:
                ids = [add_toy_submission(session).id for _ in range(n)]
            assert witness.sees(lambda w: len(w.ended) == n + 1)
    assert {row(elsewhere, id_).state for id_ in ids} == {State.SCORED}
    assert len(sent) <= n * MOST, "\n".join(sent)
