"""A deployment moves from SQLite to PostgreSQL with everything that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import inspect, select

from ramp_database import dispatchers, events, people
from ramp_database.copying import copy_everything
from ramp_database.errors import DatabaseError, SchemaError
from ramp_database.model import Base
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine.cli.main import ramp
from tests.database.conftest import Toy


@pytest.fixture
def old(sqlite_url: str) -> Iterator[Toy]:
    """An event on SQLite with a submission in every state."""
    opened = Database(sqlite_url)
    toy = Toy(opened)
    states = sorted(State, key=State.NEW.__eq__)  # a waiting one would be put out of the way
    owners = {toy.bring_to(state).dispatcher_id for state in states}
    with toy.session() as session:
        people.add_user(session, "ada", email="ada@example.org")
        for owner in owners:
            dispatchers.deregister(session, owner, "for the copy")
    yield toy
    opened.dispose()


@pytest.fixture
def new(postgresql_url: str) -> Iterator[Database]:
    opened = Database(postgresql_url)
    yield opened
    opened.dispose()


def rows(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.session(read_only=True) as session:
        return {
            table.name: [
                dict(row)
                for row in session.execute(select(table).order_by(*table.primary_key)).mappings()
            ]
            for table in Base.metadata.sorted_tables
        }


def test_every_row_is_there_and_numbers_go_on(old: Toy, new: Database) -> None:
    counts = copy_everything(old.database, new)
    found = rows(new)
    assert found == rows(old.database)
    assert counts == {name: len(there) for name, there in found.items()}
    assert {one["state"] for one in found["submissions"]} == set(State)
    with new.session() as session:
        last = max(one["id"] for one in found["submissions"])
        assert add_toy_submission(session).id == last + 1


def test_numbers_of_what_was_deleted_are_not_used_again(old: Toy, new: Database) -> None:
    with old.session() as session:
        used = add_toy_submission(session).id
        events.delete_event(session, TOY)
    copy_everything(old.database, new)
    assert Toy(new).submit() == used + 1


def test_nothing_is_copied_into_a_database_that_is_used(old: Toy, new: Database) -> None:
    Toy(new)
    before = rows(new)
    with pytest.raises(DatabaseError, match="is not empty"):
        copy_everything(old.database, new)
    assert rows(new) == before


def test_nothing_is_copied_while_a_dispatcher_works(old: Toy, new: Database) -> None:
    number = old.dispatcher()
    with pytest.raises(DatabaseError, match=f"dispatcher {number} .host, process 1. works on toy"):
        copy_everything(old.database, new)
    assert not any(rows(new).values())


def test_a_target_that_will_not_do_stays_as_it_is(
    old: Toy, make_postgresql_url: Callable[[str], str], tmp_path: Path
) -> None:
    config = tmp_path / "config.yml"
    config.write_text(f"sqlalchemy: {{url: '{old.database.engine.url}'}}")
    used = make_postgresql_url("template0")
    opened = Database(used)
    with opened.engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE somebody (s text)")
    for target, error in ((used, SchemaError), (f"sqlite:///{tmp_path}/new.db", DatabaseError)):
        command = ["database", "copy", target, "--config", str(config)]
        result = CliRunner().invoke(ramp, command, standalone_mode=False)
        assert isinstance(result.exception, error)
    assert inspect(opened.engine).get_table_names() == ["somebody"]
    assert not (tmp_path / "new.db").exists()
    opened.dispose()


def test_an_empty_target_gets_its_tables(
    old: Toy, make_postgresql_url: Callable[[str], str]
) -> None:
    opened = Database(make_postgresql_url("template0"))
    assert copy_everything(old.database, opened)["events"] == 1
    opened.dispose()


def test_only_sqlite_is_copied(new: Database) -> None:
    with pytest.raises(DatabaseError, match="from postgresql to postgresql"):
        copy_everything(new, new)
