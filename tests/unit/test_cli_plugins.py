"""``ramp workers`` and ``ramp hooks``, and what is said of the keys of every model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel, ConfigDict, Field

from ramp_database.config import DatabaseConfig
from ramp_engine.cli.main import ramp
from ramp_engine.config_hooks import HookSection
from ramp_engine.config_keys import keys_of
from ramp_engine.config_sections import EventFile
from ramp_engine.registry import hook_class, known_hooks, known_workers, worker_class

PLUGINS = """
from pydantic import BaseModel, Field
from ramp_engine.hooks import Hook
from ramp_engine.testing import FakeWorker

class Part(BaseModel):
    weight: float = Field(default=0.5, gt=0, description="Kilograms.")

class Keys(BaseModel):
    host: str = Field(description="Where it is.")
    part: Part = Field(default_factory=Part, description="A part.")

class CloudWorker(FakeWorker):
    '''Run on a cloud.

    More.
    '''
    config_model = Keys

class AnyWorker(FakeWorker):
    '''Take any key.'''
    config_model = None

class Mail(Hook):
    '''Send a mail.'''
    def on_failure(self, failure): ...
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed distribution that brings workers and hooks, one of each broken."""
    (tmp_path / "rainy.py").write_text(PLUGINS)
    (tmp_path / "rainy_broken.py").write_text("import rain_that_is_not_there")
    info = tmp_path / "ramp_rainy-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ramp-rainy\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text(
        "[ramp_engine.workers]\ncloud = rainy:CloudWorker\nwet = rainy_broken:Worker\n"
        "[ramp_engine.hooks]\nmail = rainy:Mail\nwet = rainy_broken:Hook\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield
    for name in ("rainy", "rainy_broken"):
        sys.modules.pop(name, None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(ramp, arguments, standalone_mode=False)


def test_all_workers_are_listed_and_one_that_fails_to_load_with_its_cause(plugins: None) -> None:
    result = run("workers")
    assert result.return_value == 3
    rows = {
        line.split()[0]: " ".join(line.split())
        for line in result.stdout.splitlines()
        if line.split()
    }
    assert {"aws", "cloud", "conda", "dask", "local", "ray"} < rows.keys()
    assert rows["cloud"] == (
        "cloud ramp-rainy 1.5 rainy:CloudWorker adopt, folds, interrupt, time_limit 3"
    )
    assert rows["wet"].startswith("wet ramp-rainy 1.5 rainy_broken:Worker broken: rainy_broken ")
    assert "No module named 'rain_that_is_not_there'" in rows["wet"]


def test_the_list_as_json_has_the_keys_of_each(plugins: None) -> None:
    found = {one["name"]: one for one in json.loads(run("workers", "--json").stdout)}
    assert "rain_that_is_not_there" in found["wet"]["error"]
    assert found["cloud"]["error"] is None
    assert (found["cloud"]["class"], found["cloud"]["origin"]) == (
        "rainy:CloudWorker",
        "ramp-rainy 1.5",
    )
    assert found["cloud"]["keys"] == [
        {
            "name": "host",
            "takes": "text",
            "is_required": True,
            "default": None,
            "description": "Where it is.",
        },
        {
            "name": "part",
            "takes": "a section of keys",
            "is_required": False,
            "default": {},
            "description": "A part.",
        },
        {
            "name": "part.weight",
            "takes": "a number above 0",
            "is_required": False,
            "default": 0.5,
            "description": "Kilograms.",
        },
    ]


class Nested(BaseModel):
    inner: Nested | None = Field(default=None, description="Once more.")


class Odd(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    width: int = Field(default=2, description="Of it.")
    height: int = Field(default_factory=lambda keys: int(keys["width"]), description="Of it.")
    thing: Any = Field(default=Fraction(1, 3), description="Of no type of JSON.")


def test_models_that_pydantic_allows_are_told() -> None:
    assert [key.name for key in keys_of(Nested)] == ["inner"]
    assert [key.default_text for key in keys_of(Odd)] == ["2", "(made of other keys)", "1/3"]


def test_a_worker_that_cannot_be_described_is_listed_with_the_others(
    plugins: None, tmp_path: Path
) -> None:
    source = "from ramp_engine.testing import FakeWorker\nclass Worker(FakeWorker):\n"
    (tmp_path / "rainy_broken.py").write_text(f"{source}    capabilities = None\n")
    result = run("workers", "--json")
    assert result.return_value == 3
    found = {one["name"]: one for one in json.loads(result.stdout)}
    assert "it cannot be described: TypeError" in found["wet"]["error"]
    assert found["cloud"]["error"] is None


def test_one_worker_is_shown_with_its_keys_by_name_or_by_class(plugins: None) -> None:
    for name in ("cloud", "rainy:CloudWorker"):
        result = run("workers", name)
        assert result.return_value == 0
        lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
        assert "Run on a cloud." in lines
        assert "part.weight a number above 0 0.5 Kilograms." in lines
        assert "host text (required) Where it is." in lines
    assert "keys: any, as they are" in run("workers", "rainy:AnyWorker").stdout


def test_an_unknown_or_broken_one_that_is_asked_for_is_an_error(plugins: None) -> None:
    assert "did you mean 'cloud'" in str(run("workers", "clod").exception)
    assert "rain_that_is_not_there" in str(run("workers", "wet").exception)
    assert "hook_type 'comand': there is no such hook" in str(run("hooks", "comand").exception)


def test_hooks_are_listed_with_the_calls_that_they_implement(plugins: None) -> None:
    result = run("hooks", "--json")
    assert result.return_value == 3
    found = {one["name"]: one for one in json.loads(result.stdout)}
    assert found["mail"]["calls"] == ["on_failure"]
    assert found["mail"]["takes_any_key"]
    assert [key["name"] for key in found["command"]["keys"]] == ["command"]


def models() -> dict[str, type[BaseModel] | None]:
    workers = {name: worker_class(name).config_model for name in known_workers()}
    workers["fake"] = worker_class("ramp_engine.testing:FakeWorker").config_model
    hooks = {f"hook {name}": hook_class(name).config_model for name in known_hooks()}
    sections = {one.__name__: one for one in (EventFile, HookSection, DatabaseConfig)}
    return {**workers, **hooks, **sections}


@pytest.mark.parametrize("name", models())
def test_every_key_says_what_it_is(name: str) -> None:
    model = models()[name]
    assert model is not None
    keys = keys_of(model)
    assert [key.name for key in keys if not key.description.endswith(".")] == []
    if name != "EventFile":
        assert [key.name for key in keys if not key.takes] == []
