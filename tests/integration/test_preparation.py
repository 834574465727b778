"""The trusted steps as processes: what becomes of their results and of their failures."""

from __future__ import annotations

import shutil
import sys
import textwrap
from pathlib import Path

import pytest

from ramp_engine.config import EventConfig, load_event
from ramp_engine.errors import EvaluationError, WorkerSetupError
from ramp_engine.preparation import (
    Bundle,
    prepare_data,
    run_prepare,
    run_step,
    trusted_python,
)
from tests.kits.light import lighten

IRIS = Path(__file__).parents[2] / "events" / "iris"


@pytest.fixture
def event(tmp_path: Path) -> EventConfig:
    directory = tmp_path / "events" / "iris"
    for part in ("kit", "data"):
        ignored = shutil.ignore_patterns("*.csv", "__pycache__", "training_output")
        shutil.copytree(IRIS / part, directory / part, ignore=ignored)
    shutil.rmtree(directory / "data" / "data", ignore_errors=True)
    return configure(directory, f"python: {sys.executable}")


def configure(directory: Path, worker: str, more: str = "") -> EventConfig:
    path = directory / "config.yml"
    path.write_text(
        "ramp: {problem_name: iris, event_name: iris}\n"
        f"worker: {{worker_type: local, {worker}}}\n{more}"
    )
    return load_event(path)


def fake_python(directory: Path, script: str) -> Path:
    """A program in place of the interpreter; the result file is $result."""
    path = directory / "python"
    path.write_text("#!/bin/sh\nfor result; do :; done\n" + textwrap.dedent(script))
    path.chmod(0o755)
    return path


def step(directory: Path, script: str, timeout_seconds: float = 30) -> dict[str, object]:
    return run_step(
        fake_python(directory, script),
        "score",
        ["--x", "1"],
        log_path=directory / "logs" / "score.log",
        scratch_parent=directory / "scratch",
        timeout_seconds=timeout_seconds,
    )


def test_an_event_is_prepared(event: EventConfig) -> None:
    assert prepare_data(event)
    assert not prepare_data(event)
    result = run_prepare(event)
    assert result.bundle.exists
    assert result.bundle == Bundle.within(event.ramp.work_dir / "bundles", result.name)
    assert (result.n_train, result.n_test, len(result.folds)) == (100, 50, 2)
    assert result.required_files == ("estimator.py",)
    assert result.score_types[0]["name"] == "acc"
    assert set(result.hashes) == {"kit", "data", "folds", "environment"}
    assert all(path.is_file() for path in result.fold_files)


def test_the_light_kit_has_the_data_of_the_bundled_one(event: EventConfig) -> None:
    def tables() -> dict[Path, str]:
        return {path: path.read_text() for path in event.ramp.kit_dir.parent.rglob("*.csv")}

    prepare_data(event)
    bundled = tables()
    assert len(bundled) == 4
    shutil.rmtree(event.ramp.data_dir / "data")
    shutil.rmtree(event.ramp.kit_dir / "data")
    lighten(event.ramp.kit_dir)
    assert prepare_data(event)
    (event.ramp.data_dir / "iris.csv").unlink()
    assert tables() == bundled


def test_folds_that_are_given_are_used(event: EventConfig) -> None:
    prepare_data(event)
    first = run_prepare(event)
    second = run_prepare(event, [first.fold_files[1].read_bytes()])
    assert len(second.folds) == 1
    assert second.name != first.name
    assert second.hashes["data"] == first.hashes["data"]


def test_an_unreadable_kit_is_told_with_its_reason(event: EventConfig) -> None:
    (event.ramp.kit_dir / "problem.py").write_text("import nothing_of_that_name\n")
    with pytest.raises(EvaluationError, match="nothing_of_that_name") as caught:
        run_prepare(event)
    assert caught.value.step == "prepare"


def test_data_that_fail_to_be_made_leave_nothing_behind(event: EventConfig) -> None:
    script = "import os\nos.mkdir('data')\nraise ValueError('no such sheet')\n"
    (event.ramp.data_dir / "prepare_data.py").write_text(script)
    with pytest.raises(EvaluationError, match="no such sheet"):
        prepare_data(event)
    assert not (event.ramp.data_dir / "data").exists()


def test_a_script_that_makes_no_data_is_told(event: EventConfig) -> None:
    (event.ramp.data_dir / "prepare_data.py").write_text("")
    with pytest.raises(EvaluationError, match=r"it has made no .*data/data"):
        prepare_data(event)


def test_without_a_script_there_is_nothing_to_make(event: EventConfig) -> None:
    (event.ramp.data_dir / "prepare_data.py").unlink()
    assert not prepare_data(event)


def test_a_missing_environment_is_told_with_the_command(tmp_path: Path) -> None:
    event = configure(tmp_path, "timeout: 5")
    with pytest.raises(WorkerSetupError, match=f"create-env --event-config {event.path}"):
        trusted_python(event)


def test_the_trusted_steps_may_have_another_environment(tmp_path: Path) -> None:
    more = f"evaluation: {{python: {sys.executable}}}\n"
    assert trusted_python(configure(tmp_path, "conda_env: far_away", more)) == Path(sys.executable)


def test_a_result_is_given(tmp_path: Path) -> None:
    assert step(tmp_path, """echo '{"a": 1}' > "$result" """) == {"a": 1}


def test_predictions_at_fault_are_a_result(tmp_path: Path) -> None:
    script = """
        echo '{"error": {"state": "testing_error", "message": "NaN", "fold": 0}}' > "$result"
        exit 1
        """
    assert step(tmp_path, script)["error"] == {
        "state": "testing_error",
        "message": "NaN",
        "fold": 0,
    }


@pytest.mark.parametrize(
    ("script", "told"),
    [
        (
            """echo '{"error": {"message": "no data", "hint": "Get it"}}' > "$result"; exit 3""",
            "score failed: no data. Get it",
        ),
        ("echo oh dear; exit 70", "it ended with code 70\noh dear. See "),
        ("exit 0", "it ended with code 0 and said nothing"),
        ("""echo '[1' > "$result" """, "it ended with code 0 and said nothing"),
        ("""echo '{"error": {"message": "x"}}' > "$result"; exit 1""", "score failed: x. See "),
        ("kill -9 $$", "it was ended by SIGKILL and said nothing"),
        (r"printf 'bad \377 byte'; exit 5", "it ended with code 5\nbad � byte"),
    ],
)
def test_a_step_that_fails_is_told_with_what_it_said(
    tmp_path: Path, script: str, told: str
) -> None:
    with pytest.raises(EvaluationError) as caught:
        step(tmp_path, script)
    assert told in str(caught.value)


def test_a_step_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match=r"it took longer than 0.2 s"):
        step(tmp_path, "exec sleep 600", timeout_seconds=0.2)


def test_only_the_owner_may_read_what_a_step_says(tmp_path: Path) -> None:
    step(tmp_path, """echo secret; echo '{}' > "$result" """)
    log = tmp_path / "logs" / "score.log"
    assert log.read_text() == "secret\n"
    assert log.stat().st_mode & 0o777 == 0o600


def test_an_interpreter_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="score failed"):
        run_step(
            tmp_path / "nowhere",
            "score",
            [],
            log_path=tmp_path / "score.log",
            scratch_parent=tmp_path / "scratch",
            timeout_seconds=5,
        )


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    with pytest.raises(EvaluationError, match="score failed"):
        step(tmp_path, "exit 0")


def test_a_step_leaves_no_scratch_behind_however_it_ends(tmp_path: Path) -> None:
    step(tmp_path, """echo '{}' > "$result" """)
    with pytest.raises(EvaluationError):
        step(tmp_path, "kill -9 $$")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_scratch_directory_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "scratch").write_text("in the way")
    with pytest.raises(EvaluationError, match="score failed"):
        step(tmp_path, "true")
