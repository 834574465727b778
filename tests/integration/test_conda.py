"""Conda environments by name and by prefix: real ones, behind a stand-in for the conda program.

See `tests.conda_channel` for what is real and what is not.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from ramp_engine import conda
from ramp_engine.environments import python_for_worker, python_in
from ramp_engine.errors import WorkerSetupError
from ramp_engine.local import CondaEnvWorker
from ramp_engine.testing import Scenario, ToyEvent
from tests.conda_channel import CondaRoom


@pytest.fixture
def room(conda_room: CondaRoom, monkeypatch: pytest.MonkeyPatch) -> CondaRoom:
    """The room, its program on PATH and no other."""
    without_conda(monkeypatch)
    monkeypatch.setenv("PATH", f"{conda_room.program.parent}:/usr/bin:/bin")
    return conda_room


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A conda program that the test writes itself."""
    without_conda(monkeypatch)
    path = tmp_path / "bin" / "conda"
    path.parent.mkdir()
    path.touch(mode=0o755)
    monkeypatch.setenv("CONDA_EXE", str(path))
    return path


def without_conda(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CONDA_EXE", "MAMBA_EXE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")


def test_an_environment_is_found_by_its_name(room: CondaRoom, tmp_path: Path) -> None:
    python = python_for_worker({"conda_env": "kitenv"}, tmp_path)
    assert python == python_in(room.prefix("kitenv"))
    code = "import sys, toykit; print(sys.prefix, toykit.ANSWER)"
    out = subprocess.run([python, "-I", "-c", code], check=True, capture_output=True, text=True)
    assert out.stdout.split() == [str(room.prefix("kitenv")), "42"]


def test_a_prefix_needs_no_conda_program(
    conda_room: CondaRoom, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_conda(monkeypatch)
    prefix = conda_room.prefix("kitenv")
    assert python_for_worker({"conda_env": str(prefix)}, tmp_path) == python_in(prefix)


def test_the_base_environment_has_its_name_too(room: CondaRoom) -> None:
    assert conda.prefix_of("base") == room.root


def test_an_unknown_name_is_told_with_the_nearest(room: CondaRoom) -> None:
    with pytest.raises(WorkerSetupError, match="did you mean 'kitenv'") as caught:
        conda.prefix_of("kit-env")
    assert "there are: base, kitenv" in str(caught.value)


def test_without_a_conda_program_the_error_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without_conda(monkeypatch)
    with pytest.raises(WorkerSetupError, match=r"micromamba.*or use worker_type: local"):
        conda.prefix_of("kitenv")


def test_older_programs_give_no_names(program: Path) -> None:
    listing = {"envs": ["/opt/conda", "/opt/conda/envs/kitenv"], "root_prefix": "/opt/conda"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(listing)}'\n")
    assert conda.prefix_of("kitenv") == Path("/opt/conda/envs/kitenv")
    assert conda.prefix_of("base") == Path("/opt/conda")


def test_micromamba_is_asked_in_its_own_words(
    program: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    micromamba = program.rename(program.with_name("micromamba"))
    micromamba.write_text(
        '#!/bin/sh\n[ "$*" = "env list --json" ] && echo \'{"envs": ["/m/envs/kitenv"]}\'\n'
    )
    monkeypatch.delenv("CONDA_EXE")
    monkeypatch.setenv("MAMBA_EXE", str(micromamba))
    assert conda.prefix_of("kitenv") == Path("/m/envs/kitenv")


def test_two_environments_of_one_name_are_told(program: Path) -> None:
    listing = {"envs": ["/a/envs/kitenv", "/b/envs/kitenv"]}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(listing)}'\n")
    with pytest.raises(WorkerSetupError, match=r"several conda environments .* /a/envs/kitenv, /b"):
        conda.prefix_of("kitenv")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo broken installation >&2; exit 1", "code 1 .*: broken installation"),
        ("echo 'no JSON at all'", "no JSON at all"),
        ("echo '[1]'", "listed no environments"),
        ("echo '{}'", "listed no environments"),
    ],
)
def test_a_program_that_fails_is_told(program: Path, script: str, reason: str) -> None:
    program.write_text(f"#!/bin/sh\n{script}\n")
    with pytest.raises(WorkerSetupError, match=reason):
        conda.prefix_of("kitenv")


def test_a_program_that_hangs_is_ended(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it has started, which holds its output open."""
    program.write_text("#!/bin/sh\nsleep 600 & sleep 600\n")
    monkeypatch.setattr(conda, "LIST_TIMEOUT_SECONDS", 0.3)
    with pytest.raises(WorkerSetupError, match="ended with code 124"):
        conda.prefix_of("kitenv")


def test_an_environment_is_made_and_brought_up_to_date(room: CondaRoom, tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    text = room.environment_yml.read_text()
    file.write_text(text.replace(", toykit", ""))
    prefix = conda.create_conda_env(file, "other", tmp_path / "log")
    assert prefix == room.prefix("other")
    assert "linked python" in (tmp_path / "log").read_text()
    assert not list(prefix.glob("conda-meta/toykit-*.json"))

    file.write_text(text)
    assert conda.update_conda_env(file, "other", tmp_path / "log") == prefix
    assert list(prefix.glob("conda-meta/toykit-*.json"))


def test_a_failing_creation_is_told_in_the_programs_words(room: CondaRoom, tmp_path: Path) -> None:
    file = tmp_path / "environment.yml"
    file.write_text(room.environment_yml.read_text().replace("toykit", "no-such-package"))
    with pytest.raises(WorkerSetupError, match=r"env create .* failed .*\n[^$]*no-such-package"):
        conda.create_conda_env(file, str(tmp_path / "env"), tmp_path / "log")


def test_a_missing_environment_yml_is_told(room: CondaRoom, tmp_path: Path) -> None:
    with pytest.raises(WorkerSetupError, match=r"there is no .*environment\.yml"):
        conda.create_conda_env(tmp_path / "environment.yml", "other", tmp_path / "log")


def test_the_name_is_looked_up_once_for_all_workers_of_a_dispatcher(
    room: CondaRoom, toy_event: ToyEvent, tmp_path: Path
) -> None:
    names = ("submission_000000001", "submission_000000002")
    configs = {
        name: toy_event.config(tmp_path / name, name, Scenario.GOOD, conda_env="kitenv")
        for name in names
    }
    n_calls = len(room.calls)
    with CondaEnvWorker.open_shared(configs[names[0]]) as shared:
        for name, config in configs.items():
            worker = CondaEnvWorker(config, name)
            worker.shared = shared
            assert worker.launch() == (0, "")
    assert len(room.calls) == n_calls + 1


def test_a_conda_worker_needs_an_environment(toy_event: ToyEvent, tmp_path: Path) -> None:
    config = toy_event.config(tmp_path, "submission_000000001", Scenario.GOOD)
    with pytest.raises(WorkerSetupError, match="needs the key conda_env"):
        CondaEnvWorker(config, "submission_000000001").launch()


def test_programs_of_the_environment_come_first(
    room: CondaRoom, toy_event: ToyEvent, tmp_path: Path
) -> None:
    name = "submission_000000001"
    config = toy_event.config(tmp_path, name, Scenario.GOOD, conda_env="kitenv")
    estimator = tmp_path / "submissions" / name / "estimator.py"
    code = "print(*map(os.environ.get, ('CONDA_PREFIX', 'PATH')))"
    estimator.write_text(estimator.read_text().replace("print('trained')", code))
    assert CondaEnvWorker(config, name).launch() == (0, "")
    log = (tmp_path / "logs" / name / "log").read_text()
    (line, *_) = (line for line in log.splitlines() if line.startswith("/"))
    prefix, path = line.split()
    assert prefix == str(room.prefix("kitenv"))
    assert path.split(os.pathsep)[0] == f"{prefix}/bin"
