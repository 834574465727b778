"""A database of the first release, with rows, is brought to the schema of today."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import text

from ramp_database import events, queue, schema
from ramp_database.errors import SchemaError
from ramp_database.leaderboard import leaderboard
from ramp_database.provenance import Provenance
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.status import event_status
from ramp_database.testing import TOY, toy_results
from tests.database.conftest import Toy

FIRST = "0001"


def migrate(database: Database, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(schema.__file__).parent / "migrations"))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        step = command.downgrade if revision == FIRST else command.upgrade
        step(config, revision)


@pytest.fixture
def old(database: Database) -> Iterator[tuple[Toy, dict[State, int]]]:
    """A database as the first release left it: with a submission in every state."""
    toy = Toy(database)
    ids = {state: toy.bring_to(state).submission_id for state in State if state is not State.NEW}
    ids[State.NEW] = toy.submit()
    migrate(database, FIRST)
    fresh = Database(database.engine.url)
    toy.database = fresh
    yield toy, ids
    fresh.dispose()


def test_a_program_refuses_old_tables_and_names_the_command(old: tuple[Toy, object]) -> None:
    with pytest.raises(SchemaError, match="ramp database upgrade"), old[0].session():
        pass


def test_everything_reads_claims_and_ranks_after_the_upgrade(
    old: tuple[Toy, dict[State, int]],
) -> None:
    toy, ids = old
    with toy.database.engine.connect() as connection:
        tables = ("events", "submissions", "attempts", "submission_events", "fold_scores")
        counts = {
            table: connection.scalar(text(f"SELECT count(*) FROM {table}"))  # noqa: S608
            for table in tables
        }
    toy.database.upgrade()
    assert {state: toy.row(id_).state for state, id_ in ids.items()} == {s: s for s in State}
    with toy.database.session(read_only=True) as session:
        for table, n in counts.items():
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == n  # noqa: S608
        assert events.get_event(session, TOY).max_submissions_per_day is None
        ranked = [row.submission_id for row in leaderboard(session, toy.event_id)]
        assert ranked == [ids[State.SCORED]]
        status = event_status(session, toy.event_id)
        rows = {row["id"]: row for row in status["submissions"]}
        assert status["states"] == dict.fromkeys(ids, 1)
        assert rows[ids[State.NEW]]["queue_place"] == 1
    (claim,) = toy.claim()
    assert claim.submission_id == ids[State.NEW]
    toy.do(queue.start, claim, None, None, "started", "namespaces")
    toy.do(queue.finish, claim)
    known = Provenance("bundle", "kit", "data", "folds", "environment", "files", "1.0")
    toy.do(queue.score, claim, toy_results(0.9), known)
    recorded = [toy.attempts(ids[state])[0].provenance for state in (State.SCORED, State.NEW)]
    assert recorded == [None, known.to_json()]
    confined = [toy.attempts(ids[state])[0].confinement for state in (State.SCORED, State.NEW)]
    assert confined == [None, "namespaces"]
    assert [one.partial for one in toy.attempts(ids[State.TRAINING])] == [None]
    with toy.session() as session:
        assert len(leaderboard(session, toy.event_id)) == 2
