"""The deployment's config.yml: where the database is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_database.config import DeploymentConfig, load_deployment
from ramp_database.errors import ConfigErrors


def load(directory: Path, text: str) -> DeploymentConfig:
    path = directory / "config.yml"
    path.write_text(text)
    return load_deployment(path)


def problems(directory: Path, text: str) -> list[str]:
    with pytest.raises(ConfigErrors) as caught:
        load(directory, text)
    return [str(error).partition("config.yml")[2] for error in caught.value.errors]


def test_ramps_section_for_postgresql_is_taken(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "sqlalchemy:\n  drivername: postgresql\n  username: mrramp\n  password: mrramp\n"
        "  host: localhost\n  port: 5432\n  database: ramp\nflask:\n  secret_key: abcdefghijkl\n",
    )
    url = config.url.render_as_string(hide_password=False)
    assert url == "postgresql+psycopg://mrramp:mrramp@localhost:5432/ramp"
    assert not config.is_default
    assert config.directory == tmp_path


def test_a_password_from_the_environment_may_hold_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "p@ss:w/rd 0123")
    config = load(
        tmp_path, "sqlalchemy: {drivername: postgresql, password: '${PW}', database: ramp}\n"
    )
    assert config.url.password == "p@ss:w/rd 0123"
    assert "p@ss" not in str(config.url) + repr(config) + str(config.to_printable())


def test_a_port_from_the_environment_becomes_a_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "5433")
    config = load(tmp_path, "sqlalchemy: {drivername: postgresql, port: '${PORT}', database: x}\n")
    assert config.url.port == 5433


def test_a_url_is_taken(tmp_path: Path) -> None:
    config = load(tmp_path, "sqlalchemy: {url: 'postgresql://u:p@h/db?sslmode=require'}\n")
    assert config.url.drivername == "postgresql+psycopg"
    assert config.url.query == {"sslmode": "require"}


@pytest.mark.parametrize(
    "section", ["{drivername: sqlite, database: db/x.db}", "{url: 'sqlite:///db/x.db'}"]
)
def test_a_file_of_sqlite_is_relative_to_the_config_file(tmp_path: Path, section: str) -> None:
    config = load(tmp_path, f"sqlalchemy: {section}\n")
    assert config.url.database == str(tmp_path / "db" / "x.db")


def test_an_absolute_file_of_sqlite_stays(tmp_path: Path) -> None:
    config = load(tmp_path, "sqlalchemy: {drivername: sqlite, database: /var/ramp.db}\n")
    assert config.url.database == "/var/ramp.db"


def test_sqlite_in_memory_stays(tmp_path: Path) -> None:
    assert load(tmp_path, "sqlalchemy: {url: 'sqlite:///:memory:'}\n").url.database == ":memory:"


@pytest.mark.parametrize("text", ["flask: {x: 1}\n", "sqlalchemy:\nflask: {x: 1}\n"])
def test_without_the_section_the_database_is_beside_the_file(tmp_path: Path, text: str) -> None:
    config = load(tmp_path, text)
    assert config.url.render_as_string() == f"sqlite:///{tmp_path}/ramp.db"
    assert not config.is_default


def test_without_a_file_the_database_is_in_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = load_deployment()
    assert config.url.database == str(tmp_path / "ramp.db")
    assert config.is_default
    assert config.path is None


def test_the_file_of_the_current_directory_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("config.yml").write_text("sqlalchemy: {database: other.db}\n")
    config = load_deployment()
    assert config.url.database == str(tmp_path / "other.db")
    assert not config.is_default


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigErrors, match="found none"):
        load_deployment(tmp_path / "other.yml")


def test_several_problems_are_told_at_once(tmp_path: Path) -> None:
    text = (
        "sqlalchemy:\n  drivername: mysql\n  user: x\n  password: ${RAMP_NOT_SET}\n"
        "  port: many\n  databse: ramp\n"
    )
    assert problems(tmp_path, text) == [
        ":2: sqlalchemy.drivername: expected 'sqlite' or 'postgresql', found 'mysql'",
        ":3: sqlalchemy.user: expected a known key, found 'user'; did you mean 'username'?",
        (
            ":4: sqlalchemy.password: expected the environment variable RAMP_NOT_SET to be set, "
            "found that it is not"
        ),
        (
            ":5: sqlalchemy.port: expected a whole number of at least 1 and of at most "
            "65535 or null, found 'many'"
        ),
        ":6: sqlalchemy.databse: expected a known key, found 'databse'; did you mean 'database'?",
    ]


@pytest.mark.parametrize(
    "url", ["not a url hunter2", "postgresql://u:hunter2@h:port/db", "mysql://u:hunter2@h/db"]
)
def test_a_url_that_is_none_is_told_without_its_password(tmp_path: Path, url: str) -> None:
    (text,) = problems(tmp_path, f"sqlalchemy:\n  password_file: x\n  url: '{url}'\n")[-1:]
    assert "sqlalchemy.url: expected" in text
    assert "u:hunter2" not in text


def test_a_url_beside_its_parts_is_told(tmp_path: Path) -> None:
    (text,) = problems(tmp_path, "sqlalchemy: {url: 'sqlite:///x', host: h}\n")
    assert "either url or drivername" in text


def test_postgresql_without_a_database_is_told(tmp_path: Path) -> None:
    (text,) = problems(tmp_path, "sqlalchemy: {drivername: postgresql}\n")
    assert "the key database" in text


def test_a_misspelt_section_does_not_lead_to_another_database(tmp_path: Path) -> None:
    assert problems(tmp_path, "sqlalchmey: {url: 'sqlite:///x'}\n") == [
        ":1: sqlalchmey: expected a known section, found 'sqlalchmey'; did you mean 'sqlalchemy'?"
    ]
