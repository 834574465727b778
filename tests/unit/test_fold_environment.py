"""What folds depend on in the place where they run, as far as kept ones are concerned."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ramp_engine.gpus import GpuPool
from ramp_engine.local import LocalWorker, SharedPlace
from ramp_engine.sandbox import NONE, Sandbox


@pytest.fixture
def python(tmp_path: Path) -> Path:
    made = tmp_path / "bin" / "python"
    made.parent.mkdir()
    made.touch()
    (tmp_path / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    return made


def environment(python: Path, sandbox: Sandbox) -> str:
    return LocalWorker.fold_environment({}, SharedPlace(python, sandbox, GpuPool(())))


def test_folds_of_the_same_environment_stand_beside_each_other(python: Path) -> None:
    sandbox = Sandbox("namespaces", uid=65534)
    assert environment(python, sandbox) == environment(python, sandbox)


def test_a_package_that_is_installed_makes_another_environment(python: Path) -> None:
    before = environment(python, Sandbox(NONE))
    packages = python.parents[1] / "lib" / "python3.11" / "site-packages"
    os.utime(packages, ns=(0, packages.stat().st_mtime_ns + 1))
    assert environment(python, Sandbox(NONE)) != before


def test_folds_that_were_not_confined_do_not_stand_beside_those_that_are(python: Path) -> None:
    levels = [Sandbox(NONE), Sandbox("landlock"), Sandbox("landlock", uid=65534)]
    assert len({environment(python, sandbox) for sandbox in levels}) == 3
