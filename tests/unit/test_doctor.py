"""What the doctor says of directories, disks, files and of checks that fail themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ramp_engine import doctor
from ramp_engine.config import load_event
from ramp_engine.doctor import Finding, Level, configuration, confinement, environment, places
from ramp_engine.doctor.finding import ok
from ramp_engine.doctor.patient import Deployment, PatientEvent
from ramp_engine.errors import WorkerSetupError

CONFIG = """
ramp: {problem_name: iris, event_name: iris}
worker: {worker_type: local, python: PYTHON}
"""


@pytest.fixture
def event(tmp_path: Path) -> PatientEvent:
    """An event whose file was read, in a deployment without a database."""
    return make_event(tmp_path, "python3")


def make_event(tmp_path: Path, python: str) -> PatientEvent:
    for name in ("kit", "data"):
        (tmp_path / name).mkdir()
    path = tmp_path / "config.yml"
    path.write_text(CONFIG.replace("PYTHON", python))
    event = PatientEvent(Deployment(None, load_event), path, "iris")
    assert levels(configuration.of_event(event)) == ["ok"]
    return event


def levels(findings: Iterator[Finding]) -> list[str]:
    return [str(one.level) for one in findings]


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> object:
    """Examine with one check only."""

    def examine(check: object) -> list[Finding]:
        monkeypatch.setattr(doctor, "DEPLOYMENT_CHECKS", {"the check": check})
        return list(doctor.examine(tmp_path / "config.yml", None, load_event))

    return examine


def test_a_check_that_fails_itself_is_a_problem(only: object) -> None:
    def check(_: Deployment) -> Iterator[Finding]:
        yield ok("so far")
        raise ZeroDivisionError("planted")

    first, second = only(check)  # type: ignore[operator]
    assert (first.level, second.level) == (Level.OK, Level.PROBLEM)
    assert "ZeroDivisionError: planted" in second.message
    assert second.check == "the check"


def test_an_error_of_ours_is_a_problem_in_its_own_words(only: object) -> None:
    def check(_: Deployment) -> Iterator[Finding]:
        yield from ()
        raise WorkerSetupError("no room", "Make some")

    (found,) = only(check)  # type: ignore[operator]
    assert (found.level, found.message) == (Level.PROBLEM, "no room. Make some")


def test_hidden_labels_that_can_be_found_are_told(event: PatientEvent) -> None:
    assert event.config is not None
    event.config = replace(event.config, worker={**event.config.worker, "sandbox": "off"})
    assert [one.message for one in confinement.is_confined(event)] == [
        "submissions run without any confinement"
    ]
    hiding = event.config.evaluation.model_copy(update={"hide_validation_labels": True})
    event.config = replace(event.config, evaluation=hiding)
    *_, found = confinement.is_confined(event)
    assert found.level == Level.WARNING
    assert "the folds of a submission can read them on the disk" in found.message


def test_a_hook_that_fails_to_load_is_a_warning_and_the_rest_is_checked(
    event: PatientEvent,
) -> None:
    with event.path.open("a") as file:
        file.write("hooks: {mail: {hook_type: no_such_module:Hook}}\n")
    fine, found = configuration.of_event(event)
    assert (fine.level, found.level) == (Level.OK, Level.WARNING)
    assert "no_such_module fails to load" in found.message
    assert found.remedy == f"edit {event.path}"


def test_directories_that_are_not_there_yet_are_fine(event: PatientEvent) -> None:
    assert levels(places.are_writable(event)) == ["ok"]


def test_a_missing_kit_and_a_file_in_the_way_are_problems(event: PatientEvent) -> None:
    (event.path.parent / "kit").rmdir()
    (event.path.parent / "logs").touch()
    kit, logs = places.are_writable(event)
    assert "kit_dir" in kit.message
    assert "logs_dir" in logs.message
    assert {kit.level, logs.level} == {Level.PROBLEM}
    assert kit.remedy
    assert logs.remedy.startswith("mv ")


@pytest.mark.parametrize(
    ("free_mb", "n_files", "level"),
    [
        (100, 10**6, Level.PROBLEM),
        (1000, 10**6, Level.WARNING),
        (10_000, 10**6, Level.OK),
        (10_000, 100, Level.PROBLEM),
        (10_000, 10_000, Level.WARNING),
    ],
)
def test_a_full_disk_is_told(
    event: PatientEvent, monkeypatch: pytest.MonkeyPatch, free_mb: int, n_files: int, level: Level
) -> None:
    disk = SimpleNamespace(f_bavail=free_mb, f_frsize=2**20, f_favail=n_files, f_files=10**7)
    monkeypatch.setattr(os, "statvfs", lambda _: disk)
    (found,) = places.have_space(event)
    assert found.level is level
    assert ("delete-predictions" in found.remedy) == (level is not Level.OK)


def test_an_interpreter_without_ramp_workflow_is_told_with_what_installs_it(
    tmp_path: Path,
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho \"No module named 'rampwf'\" >&2\nexit 1\n")
    python.chmod(0o755)
    (found,) = environment.works(make_event(tmp_path, str(python)))
    assert found.level is Level.PROBLEM
    assert "No module named 'rampwf'" in found.message
    assert "-m pip install -r" in found.remedy


def test_a_missing_environment_is_told_with_what_makes_it(tmp_path: Path) -> None:
    event = make_event(tmp_path, "null")
    findings = list(environment.works(event))
    assert {one.level for one in findings} == {Level.PROBLEM}
    assert all(f"create-env --event-config {event.path}" in one.remedy for one in findings)


def test_an_event_whose_file_is_gone_is_told(tmp_path: Path) -> None:
    event = PatientEvent(Deployment(None, load_event), tmp_path / "config.yml", "iris")
    (found,) = configuration.of_event(event)
    assert found.level is Level.PROBLEM
    assert "--event-config" in found.remedy


def test_checks_say_nothing_about_what_could_not_be_read(tmp_path: Path) -> None:
    event = PatientEvent(Deployment(None, load_event), tmp_path / "config.yml", "iris")
    checks = [check for name, check in doctor.EVENT_CHECKS.items() if name != "configuration"]
    assert [list(check(event)) for check in checks] == [[] for _ in checks]
