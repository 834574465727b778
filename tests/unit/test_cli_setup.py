"""``ramp setup init`` and ``init-event``, and ``ramp config check``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ramp_database.config import load_deployment
from ramp_database.config_words import model_within
from ramp_engine.cli.main import ramp
from ramp_engine.config import load_event
from ramp_engine.config_hooks import HookSection
from ramp_engine.config_sections import EventFile

EVENT_CONFIG = "events/circles/config.yml"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAMP_CONFIG", raising=False)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(ramp, arguments, catch_exceptions=False)


def done(*arguments: str) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def test_init_makes_a_deployment_that_loads(here: Path) -> None:
    assert "init-event" in done("setup", "init").stdout
    assert load_deployment().url.database == str(here / "ramp.db")
    assert not load_deployment().is_default
    assert (here / "events").is_dir()


def test_init_makes_the_folder_that_was_named(here: Path) -> None:
    done("setup", "init", "a/deployment")
    assert (here / "a" / "deployment" / "config.yml").is_file()


def test_init_leaves_what_is_there(here: Path) -> None:
    Path("config.yml").write_text("sqlalchemy: {database: mine.db}\n")
    assert "stays as it is" in done("setup", "init").stderr
    assert Path("config.yml").read_text() == "sqlalchemy: {database: mine.db}\n"


def test_init_event_makes_an_event_that_loads(here: Path) -> None:
    done("setup", "init")
    done("setup", "init-event", "--name", "circles", "--problem", "shapes")
    event = load_event(Path(EVENT_CONFIG))
    assert (event.ramp.event_name, event.ramp.problem_name) == ("circles", "shapes")
    assert event.ramp.kit_dir == here / "events" / "circles" / "kit"
    assert (event.ramp.sandbox_dir / "estimator.py").is_file()
    assert (event.ramp.data_dir / "prepare_data.py").is_file()
    done("config", "check", "--event-config", EVENT_CONFIG)


def test_the_template_of_an_event_explains_every_key(here: Path) -> None:
    done("setup", "init-event", "--name", "circles")
    text = Path(EVENT_CONFIG).read_text()
    sections = [model_within(field.annotation) for field in EventFile.model_fields.values()]
    for section in (*sections[:-1], HookSection):
        assert section is not None
        for key in section.model_fields:
            assert f" {key}:" in text, key


def test_what_the_template_calls_defaults_are_valid_when_uncommented(here: Path) -> None:
    done("setup", "init-event", "--name", "circles")
    lines = Path(EVENT_CONFIG).read_text().splitlines()
    examples = ("python:", "conda_env:", "timeout:")  # alternatives: not both at once
    text = "\n".join(
        line.replace("  # ", "  ", 1)
        if line.startswith("  # ") and ":" in line and not any(key in line for key in examples)
        else line
        for line in lines
    )
    Path(EVENT_CONFIG).write_text(text)
    config = load_event(Path(EVENT_CONFIG))
    assert (config.dispatcher.max_attempts, config.dispatcher.heartbeat_seconds) == (3, 5)


def test_a_kit_of_the_deployment_is_used_where_there_is_one(here: Path) -> None:
    (here / "ramp-kits" / "shapes").mkdir(parents=True)
    done("setup", "init")
    done("setup", "init-event", "--name", "circles", "--problem", "shapes")
    assert [path.name for path in (here / "events" / "circles").iterdir()] == ["config.yml"]
    assert load_event(Path(EVENT_CONFIG)).ramp.kit_dir == here / "ramp-kits" / "shapes"


@pytest.mark.parametrize("name", ["../x", ".x", "a b", ""])
def test_a_name_that_is_no_name_is_refused(here: Path, name: str) -> None:
    result = run("setup", "init-event", "--name", name)
    assert result.exit_code == 2
    assert "expected a name of letters" in result.stderr
    assert list(here.iterdir()) == []


def test_check_tells_all_problems_of_both_files(here: Path) -> None:
    Path("config.yml").write_text("sqlalchemy: {port: x}\n")
    Path("event.yml").write_text("ramp: {event_name: e}\nworker: {worker_type: locl}\n")
    result = run("config", "check", "--event-config", "event.yml")
    assert result.exit_code == 2
    assert result.stdout == ""
    for key in ("sqlalchemy.port", "ramp.problem_name", "worker.worker_type"):
        assert key in result.stderr
    assert "did you mean 'local'?" in result.stderr


def test_check_tells_problems_to_scripts(here: Path) -> None:
    Path("event.yml").write_text(
        "ramp: {event_name: e, problem_name: p}\nworker:\n  worker_type: local\n  pythn: x\n"
    )
    result = run("config", "check", "--event-config", "event.yml", "--json")
    assert result.exit_code == 2
    answer = json.loads(result.stdout)
    assert answer["is_valid"] is False
    (problem,) = answer["problems"]
    assert (problem["line"], problem["key"]) == (4, "worker.pythn")
    assert problem["suggestion"] == "python"


def test_check_prints_the_config_with_its_defaults_and_without_secrets(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PW", "hunter2")
    Path("config.yml").write_text(
        "sqlalchemy: {drivername: postgresql, username: me, password: '${PW}', database: d}\n"
    )
    Path("event.yml").write_text(
        "ramp: {event_name: e, problem_name: p}\nworker: {worker_type: local}\n"
    )
    answer = json.loads(done("config", "check", "--event-config", "event.yml", "--json").stdout)
    assert answer["is_valid"] is True
    assert answer["config"]["dispatcher"]["max_attempts"] == 3
    assert "hunter2" not in json.dumps(answer)
    assert "hunter2" not in done("config", "check", "--event-config", "event.yml").stdout


def test_a_conda_environment_needs_its_name(here: Path) -> None:
    Path("event.yml").write_text(
        "ramp: {event_name: e, problem_name: p}\nworker: {worker_type: local}\n"
    )
    result = run("setup", "create-conda-env", "--event-config", "event.yml")
    assert result.exit_code == 2
    assert "conda_env" in result.stderr
