"""``ramp setup init-worker``: what it writes, and what it refuses."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ramp_engine.cli.main import ramp
from ramp_engine.cli.skeleton import WorkerNames


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def init(*arguments: str) -> Result:
    return CliRunner().invoke(ramp, ["setup", "init-worker", *arguments], catch_exceptions=False)


def test_it_makes_a_package_named_after_the_platform(here: Path) -> None:
    assert init("My.Cluster").exit_code == 0
    project = tomllib.loads(Path("ramp-worker-my-cluster/pyproject.toml").read_text())["project"]
    assert project["entry-points"]["ramp_engine.workers"] == {
        "my_cluster": "ramp_worker_my_cluster:MyClusterWorker"
    }
    assert not [path for path in here.rglob("*") if path.is_file() and "@" in path.name]
    assert "@CLASS@" not in Path("ramp-worker-my-cluster/tests/test_worker.py").read_text()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("class", "a word of Python's own"),
        ("match", "a word of Python's own"),
        ("9lives", "starting with a letter"),
        ("a/b", "starting with a letter"),
        ("..", "starting with a letter"),
        ("", "starting with a letter"),
        ("grün", "starting with a letter"),
        ("base", "what all workers are made of"),
        ("Local", "there is a worker 'local' already"),
    ],
)
def test_a_name_that_will_not_do_is_refused_with_the_reason(
    here: Path, name: str, reason: str
) -> None:
    result = init(name)
    assert result.exit_code == 2
    assert reason in result.stderr
    assert list(here.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(here: Path) -> None:
    Path("mine").mkdir()
    result = init("slurm", "--path", "mine")
    assert result.exit_code == 2
    assert "mine is there already" in result.stderr
    assert list(Path("mine").iterdir()) == []


def test_every_template_of_a_package_is_written() -> None:
    templates = resources.files("ramp_engine.cli") / "templates" / "worker"
    used = {Path(name).name for name in WorkerNames("any").files.values()}
    assert used == {path.name for path in templates.iterdir()}
