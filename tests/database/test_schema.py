"""The tables are those of the models, however they came about."""

from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, inspect, text

from ramp_database import schema
from ramp_database.errors import SchemaError
from ramp_database.migrations.draft import draft
from ramp_database.model import Base
from ramp_database.model.column_types import PlainText
from ramp_database.session import Database, engine_for

MIGRATIONS = Path(schema.__file__).parent / "migrations"
FIRST_USE = """
import sys
from ramp_database.session import Database
with Database(sys.argv[1]).session():
    pass
"""
POSTGRESQL_DEFINITIONS = """
    SELECT 'column', table_name, column_name,
           concat_ws(' ', data_type, character_maximum_length, is_nullable, column_default)
    FROM information_schema.columns WHERE table_schema = 'public'
    UNION ALL
    SELECT 'index', tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION ALL
    SELECT 'constraint', conrelid::regclass::text, conname, pg_get_constraintdef(oid)
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace
"""


def definitions(connection: Connection) -> set[Any]:
    """Everything that the database knows of its tables."""
    if connection.dialect.name == "postgresql":
        return {
            tuple(row)
            for row in connection.execute(text(POSTGRESQL_DEFINITIONS))
            if row[1] != "alembic_version"
        }
    rows = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
    return {(name, in_one_way(sql)) for name, sql in rows if "alembic" not in name}


def in_one_way(sql: str) -> tuple[str, ...]:
    """Give the parts of a definition in any order: SQLite puts added columns last."""
    head, _, body = re.sub(r"\s+", " ", sql).replace("( ", "(").replace(" )", ")").partition("(")
    return (head.strip(), *sorted(part.strip(" )") for part in re.split(r",(?![^()]*\))", body)))


def test_migrations_lead_to_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Base.metadata) == []


def test_migrated_tables_are_defined_as_made_ones(empty_database_url: str) -> None:
    engine = engine_for(empty_database_url)
    found = []
    for make in (Base.metadata.create_all, schema.upgrade):
        with engine.connect() as connection, connection.begin() as transaction:
            make(connection)
            found.append(definitions(connection))
            transaction.rollback()
    engine.dispose()
    assert found[0] == found[1]
    assert len(found[0]) > 20


def test_the_first_use_of_a_new_file_makes_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    database = Database(f"sqlite:///{path}")
    with database.session(read_only=True) as session:
        assert session.scalar(text("SELECT count(*) FROM events")) == 0
    database.dispose()


def test_many_may_use_a_new_file_first_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'new.db'}"
    programs = [subprocess.Popen([sys.executable, "-c", FIRST_USE, url]) for _ in range(4)]
    assert [program.wait() for program in programs] == [0, 0, 0, 0]


def test_a_file_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    connection.close()
    with (
        pytest.raises(SchemaError, match="no tables of ramp"),
        Database(f"sqlite:///{path}").session(),
    ):
        pass


def test_missing_tables_are_told_with_the_command_that_makes_them(
    make_postgresql_url: Callable[[str], str],
) -> None:
    database = Database(make_postgresql_url("template0"))
    with pytest.raises(SchemaError, match="ramp database upgrade"), database.session():
        pass
    database.upgrade()
    database.upgrade()
    with database.session() as session:
        assert session.scalar(text("SELECT count(*) FROM events")) == 0
    database.dispose()


def test_tables_of_another_version_are_refused(database: Database) -> None:
    with database.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaError, match="9999"):
        database.check_schema()
    with pytest.raises(SchemaError, match="9999"):
        database.upgrade()


def test_a_table_that_vanished_is_told_as_an_error_of_ours(database: Database) -> None:
    with database.session() as session:
        session.execute(text("DROP TABLE submission_events"))
    with pytest.raises(SchemaError), database.session() as session:
        session.execute(text("SELECT * FROM submission_events"))


def test_the_downgrade_leaves_nothing(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]


def test_a_revision_is_drafted_from_what_has_changed_in_the_models(tmp_path: Path) -> None:
    directory = Path(shutil.copytree(MIGRATIONS, tmp_path / "migrations"))
    changed = MetaData(naming_convention=Base.metadata.naming_convention)
    for table in Base.metadata.tables.values():
        table.to_metadata(changed)
    changed.tables["teams"].append_column(Column("motto", PlainText(), nullable=True))
    path = draft("Add a motto", directory, changed)
    assert path.name == f"{int(schema.HEAD) + 1:04d}_add_a_motto.py"
    written = path.read_text()
    compile(written, path.name, "exec")
    assert "add_column(sa.Column('motto', sa.Text(), nullable=True))" in written
    assert f"down_revision = '{schema.HEAD}'" in written


def test_the_program_needs_the_newest_revision() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.HEAD
