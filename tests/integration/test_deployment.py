"""``ramp setup deploy-event`` on a real SQLite file, with a real event's environment."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ramp_database import events
from ramp_database.session import Database
from ramp_engine.bundles import ensure_bundle
from ramp_engine.cli import edge
from ramp_engine.cli.main import ramp
from ramp_engine.config import load_event
from ramp_engine.errors import EvaluationError
from ramp_engine.preparation import Bundle
from tests.copied import copy_deployment
from tests.kits.light import lighten
from tests.open_environment import open_python

IRIS = Path(__file__).parents[2] / "events" / "iris"
CONFIG = """\
ramp: {{problem_name: iris, event_name: iris, event_title: {title}}}
worker: {{worker_type: local, python: {python}}}
"""


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RAMP_CONFIG", raising=False)

    def run(*arguments: str) -> Done:
        with pytest.raises(SystemExit) as caught:
            edge.run(ramp, "ramp", list(arguments))
        return Done(int(caught.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def deployed_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a deployment with a deployed event, to be copied."""
    root = tmp_path_factory.mktemp("deployed")
    copy_iris(root)
    command = [sys.executable, "-m", "ramp_engine", "setup", "deploy-event"]
    command += ["--event-config", "events/iris/config.yml"]
    environment = {name: value for name, value in os.environ.items() if name != "RAMP_CONFIG"}
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    return root


@pytest.fixture
def deployed_dir(deployed_once: Path, tmp_path: Path) -> Path:
    """The event's folder where `deploy` has done its work already."""
    copy_deployment(deployed_once, tmp_path)
    return tmp_path / "events" / "iris"


@pytest.fixture
def event_dir(tmp_path: Path) -> Path:
    return copy_iris(tmp_path)


def copy_iris(root: Path) -> Path:
    """Copy an event that is not deployed into a deployment's folder; give the event's."""
    directory = root / "events" / "iris"
    for part in ("kit", "data"):
        ignored = shutil.ignore_patterns("*.csv", "__pycache__", "training_output")
        shutil.copytree(IRIS / part, directory / part, ignore=ignored)
    shutil.rmtree(directory / "data" / "data", ignore_errors=True)
    lighten(directory / "kit")
    configure(directory)
    return directory


def configure(event_dir: Path, title: str = "Iris", python: str = "") -> None:
    text = CONFIG.format(title=title, python=python or open_python())
    (event_dir / "config.yml").write_text(text)


def deploy(run: Run, *more: str) -> Done:
    return run("setup", "deploy-event", "--event-config", "events/iris/config.yml", *more)


def stored(tmp_path: Path) -> dict[str, object]:
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    with database.session(read_only=True) as session:
        row = events.get_event(session, "iris")
        found = {
            name: getattr(row, name)
            for name in ("title", "bundle_hash", "kit_hash", "folds_hash", "n_folds", "config_path")
        }
        found["folds"] = events.folds(session, row.id)
        found["problem"] = row.problem.title
        found["score_types"] = [score_type.name for score_type in row.score_types]
    database.dispose()
    return found


def test_an_event_is_deployed_and_deploying_it_again_does_nothing(
    run: Run, event_dir: Path, tmp_path: Path
) -> None:
    first = deploy(run)
    assert first.code == 0, first.err
    assert "iris is deployed: Iris classification" in first.out
    assert "100 rows for training in 2 folds, 50 labelled rows for testing" in first.out
    assert "ramp.db in the current directory" in first.err
    found = stored(tmp_path)
    assert (found["title"], found["n_folds"]) == ("Iris", 2)
    assert found["score_types"] == ["acc", "error", "nll", "f1_70"]
    assert found["config_path"] == str(event_dir / "config.yml")
    assert (event_dir / "work" / "bundles" / str(found["bundle_hash"]) / "labels").is_dir()

    second = deploy(run)
    assert (second.code, second.out) == (0, "iris is already deployed, nothing has changed\n")
    assert stored(tmp_path) == found


def test_what_has_changed_is_told_and_deployed_with_force_only(
    run: Run, deployed_dir: Path, tmp_path: Path
) -> None:
    before = stored(tmp_path)
    with (deployed_dir / "kit" / "problem.py").open("a") as file:
        file.write("\n_at_random = get_cv\n\n\ndef get_cv(X, y):\n")
        file.write("    rows = range(len(y))\n    return [(rows[:60], rows[60:])]\n")
        file.write("\n\nscore_types = score_types[:2]\n")
    configure(deployed_dir, title="Another")

    refused = deploy(run)
    assert refused.code == 1
    assert "these have changed: the kit, event_title. Nothing was recorded" in refused.err
    assert "those of nll, f1_70, gone from the kit, are deleted" in refused.err
    assert stored(tmp_path) == before

    forced = deploy(run, "--force")
    assert forced.code == 0, forced.err
    assert "changed: the kit, event_title" in forced.out
    assert "the folds stay" in forced.out
    assert "but those of nll, f1_70, gone from the kit, are deleted" in forced.out
    after = stored(tmp_path)
    assert after["folds"] == before["folds"]
    assert after["folds_hash"] == before["folds_hash"]
    assert (after["title"], after["score_types"]) == ("Another", ["acc", "error"])
    assert after["kit_hash"] != before["kit_hash"]
    bundles = {path.name for path in (deployed_dir / "work" / "bundles").iterdir()}
    assert bundles == {before["bundle_hash"], after["bundle_hash"]}
    assert "nothing has changed" in deploy(run).out

    redrawn = deploy(run, "--force", "--new-folds")
    assert "the folds were drawn anew" in redrawn.out
    assert stored(tmp_path)["n_folds"] == 1


def test_other_data_get_other_folds(run: Run, deployed_dir: Path, tmp_path: Path) -> None:
    before = stored(tmp_path)
    train = deployed_dir / "data" / "data" / "train.csv"
    lines = train.read_text().splitlines(keepends=True)
    train.write_text("".join(lines[:-20]))
    assert "these have changed: the data." in deploy(run).err
    assert "the folds were drawn anew" in deploy(run, "--force").out
    assert stored(tmp_path)["folds_hash"] != before["folds_hash"]


def test_an_event_keeps_its_problem(run: Run, deployed_dir: Path) -> None:
    path = deployed_dir / "config.yml"
    path.write_text(path.read_text().replace("problem_name: iris", "problem_name: other"))
    refused = deploy(run, "--force")
    assert refused.code == 1
    assert "It belongs to the problem 'iris'" in refused.err


def test_a_missing_environment_is_told_with_the_command_that_makes_it(
    run: Run, event_dir: Path, tmp_path: Path
) -> None:
    text = (event_dir / "config.yml").read_text()
    (event_dir / "config.yml").write_text(text.replace(f", python: {open_python()}", ""))
    refused = deploy(run)
    assert refused.code == 1
    path = event_dir / "config.yml"
    assert f"ramp setup create-env --event-config {path}" in refused.err
    assert not (event_dir / "data" / "data").exists()


def test_a_kit_that_cannot_be_read_is_told_and_nothing_is_recorded(
    run: Run, event_dir: Path, tmp_path: Path
) -> None:
    (event_dir / "kit" / "problem.py").write_text("def oh dear\n")
    refused = deploy(run)
    assert refused.code == 1
    assert "prepare failed" in refused.err
    assert "problem.py" in refused.err
    assert "Traceback" not in refused.err
    with pytest.raises(events.NotFoundError):
        stored(tmp_path)


def test_a_file_with_problems_is_told_before_anything_is_done(run: Run, event_dir: Path) -> None:
    (event_dir / "config.yml").write_text("ramp: {event_name: iris}\nworker: {worker_type: x}\n")
    refused = deploy(run)
    assert refused.code == 2
    assert refused.err.count("config.yml:") == 2
    assert not (event_dir / "work").exists()


def test_the_event_that_init_event_writes_works_as_it_is(run: Run, tmp_path: Path) -> None:
    assert run("setup", "init").code == 0
    assert run("setup", "init-event", "--name", "iris").code == 0
    path = tmp_path / "events" / "iris" / "config.yml"
    python = f"  python: {sys.executable}\n  # python:"
    path.write_text(path.read_text().replace("  # python:", python, 1))
    done = deploy(run)
    assert done.code == 0, done.err
    assert done.err == ""
    assert "250 rows for training in 3 folds, 150 labelled rows for testing" in done.out


def test_changed_limits_are_applied_without_force_and_hold(run: Run, deployed_dir: Path) -> None:
    config = deployed_dir / "config.yml"
    limits = "max_submissions_per_day: 1, closing_timestamp: 2999-01-01T00:00:00Z, event_title"
    config.write_text(config.read_text().replace("event_title", limits))
    again = deploy(run)
    assert again.code == 0, again.err
    assert again.out == "limits of iris changed: closing_timestamp, max_submissions_per_day\n"
    assert deploy(run).out == "iris is already deployed, nothing has changed\n"
    kit = str(deployed_dir / "kit" / "submissions" / "starting_kit")
    submit = ("submit", kit, "--event", "iris", "--team", "red", "--create-team", "--name")
    assert run(*submit, "one").code == 0
    rejected = run(*submit, "two")
    assert rejected.code == 1
    assert "Come back at" in rejected.err
    status = run("status", "--event", "iris")
    assert "place 1, no dispatcher is running" in status.out


@pytest.fixture
def found_bundle(tmp_path: Path, event_dir: Path) -> Iterator[Callable[[], Bundle]]:
    """Give the bundle that a dispatcher would take with the config.yml as it is now."""
    database = Database(f"sqlite:///{tmp_path}/ramp.db")
    yield lambda: ensure_bundle(database, load_event(event_dir / "config.yml"))
    database.dispose()


HIDING = "evaluation: {hide_validation_labels: true}\n"


def test_hiding_validation_labels_takes_effect_when_it_is_deployed(
    run: Run, event_dir: Path, tmp_path: Path, found_bundle: Callable[[], Bundle]
) -> None:
    assert deploy(run).code == 0
    shown = found_bundle()
    with (event_dir / "config.yml").open("a") as file:
        file.write(HIDING)
    with pytest.raises(EvaluationError, match="hide_validation_labels changed since the event"):
        found_bundle()
    assert "key hide_validation_labels changed since the event" in run("doctor").out
    assert "these have changed: hide_validation_labels. Nothing was" in deploy(run).err

    forced = deploy(run, "--force")
    assert "changed: hide_validation_labels\n" in forced.out
    assert "the labels of each fold's validation part are hidden from it" in forced.out
    hidden = found_bundle()
    assert hidden.name == stored(tmp_path)["bundle_hash"] != shown.name
    assert (hidden.public / "masked" / "fold_1" / "y.pkl").is_file()
    assert not list((hidden.public / "train").glob("y.*"))
    assert "nothing has changed" in deploy(run).out
    assert "kit and data are as they were deployed" in run("doctor").out


def test_a_lost_bundle_is_made_again_as_it_was_deployed_or_not_at_all(
    run: Run, event_dir: Path, found_bundle: Callable[[], Bundle]
) -> None:
    configure(event_dir)
    config = event_dir / "config.yml"
    config.write_text(config.read_text() + HIDING)
    assert deploy(run).code == 0
    hidden = found_bundle()
    shutil.rmtree(hidden.public.parent)
    assert found_bundle() == hidden
    assert hidden.hides_labels()
    shutil.rmtree(hidden.public.parent)
    configure(event_dir)
    with pytest.raises(EvaluationError, match="hide_validation_labels changed since the event"):
        found_bundle()
