"""The same event on other workers and other databases."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, wait_until
from tests.conda_channel import CondaRoom

NAMES = ["starting_kit", "sepals"]


def scores(deployment: Deployment) -> dict[str, object]:
    board = deployment.json("leaderboard", "--event", "iris", "--private")
    return {row["submission"]: (row["scores"], row["private_scores"]) for row in board}


@pytest.fixture
def expected(scored: Deployment) -> dict[str, object]:
    """The scores of the local worker on SQLite."""
    found = scores(scored)
    assert sorted(found) == sorted(NAMES)
    return found


def evaluated(deployment: Deployment) -> dict[str, object]:
    deployment.deploy()
    for name in NAMES:
        deployment.submit(name)
    deployment.dispatch()
    assert {row["state"] for row in deployment.submissions().values()} == {"scored"}
    return scores(deployment)


def test_a_worker_written_as_documented_runs_unchanged_and_scores_the_same(
    make_deployment: Callable[..., Deployment],
    expected: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deployment = make_deployment(
        worker_type="tests.integration.test_documented_worker:MyWorker", worker_keys="zone: here"
    )
    assert evaluated(deployment) == expected


def test_a_conda_environment_is_found_by_its_name_and_scores_the_same(
    make_deployment: Callable[..., Deployment],
    expected: dict[str, object],
    conda_room: CondaRoom,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CONDA_EXE", str(conda_room.program))
    deployment = make_deployment(worker_type="conda", worker_keys="conda_env: kitenv")
    n_calls = len(conda_room.calls)
    assert evaluated(deployment) == expected
    assert len(conda_room.calls) - n_calls <= 2, "once a dispatcher, not once a submission"


def test_postgresql_serves_two_dispatchers_and_each_submission_runs_once(
    make_deployment: Callable[..., Deployment],
    expected: dict[str, object],
    postgresql_url: str,
) -> None:
    deployment = make_deployment(postgresql_url)
    deployment.deploy()
    ids = [deployment.submit(name, team=team) for team in ("blue", "red") for name in NAMES]
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    dispatchers = [deployment.start(*launch, "--exit-when-done") for _ in range(2)]
    assert [process.wait(PATIENCE_SECONDS) for process in dispatchers] == [0, 0]
    rows = deployment.submissions()
    assert {(rows[id_]["state"], rows[id_]["attempt"]) for id_ in ids} == {("scored", 1)}
    assert scores(deployment) == expected
    assert not (deployment.directory / "ramp.db").exists()


def test_a_submission_is_evaluated_alone_without_a_database(deployment: Deployment) -> None:
    alone = ("launch", "worker", "--event-config", str(deployment.event_config))
    done = deployment.ramp(*alone, "--submission", "starting_kit")
    assert "bagged" in done.stdout
    assert (deployment.event / "predictions" / "starting_kit" / "bagged_scores.csv").is_file()
    done = deployment.ramp(*alone, "--submission", "broken", code=1)
    assert "petal_widht" in done.stdout
    done = deployment.ramp(*alone, "--submission", "starting_kitt", code=1)
    assert "did you mean 'starting_kit'" in done.stderr


def test_a_submission_is_tested_at_home_in_the_kits_folder(deployment: Deployment) -> None:
    kit = deployment.event / "kit"
    at_home = ("test", "--kit-dir", str(kit), "--python", sys.executable)
    done = deployment.ramp(*at_home, "--submission", "sepals", "--save-output")
    assert "bagged" in done.stdout
    output = kit / "submissions" / "sepals" / "training_output"
    assert (output / "bagged_scores.csv").is_file()
    assert (output / "fold_1" / "y_pred_test.npz").is_file()
    done = deployment.ramp(*at_home, "--submission", "broken", code=1)
    assert "training_error" in done.stdout


def test_one_submission_runs_while_another_one_does(deployment: Deployment, tmp_path: Path) -> None:
    """Each waits for the other's file: they are scored only if both run at once."""
    deployment.configure(timeout=200)
    deployment.unconfine()
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    code = """
        import pathlib, time
        from nearest import NearestMean

        here, there = (pathlib.Path({meeting!r}, name) for name in ({here!r}, {there!r}))

        def get_estimator():
            here.touch()
            while not there.exists():
                time.sleep(0.01)
            return NearestMean()
    """
    for here, there in (("a", "b"), ("b", "a")):
        text = code.format(meeting=str(meeting), here=here, there=there)
        deployment.submit(here, {"estimator.py": text})
    deployment.dispatch()
    assert {row["state"] for row in deployment.submissions().values()} == {"scored"}


def test_a_running_submission_is_canceled_with_its_processes(deployment: Deployment) -> None:
    deployment.unconfine()
    marker = deployment.directory / "started"
    sleeper = f"import pathlib, time; pathlib.Path({str(marker)!r}).touch(); time.sleep(600)"
    number = deployment.submit("sleeper", {"estimator.py": sleeper})
    launch = ("launch", "dispatcher", "--event-config", str(deployment.event_config))
    process = deployment.start(*launch, "--exit-when-done")
    assert wait_until(marker.exists)
    deployment.ramp(
        "database", "set-submission-state", "--submission-id", str(number), "--state", "canceled"
    )
    assert process.wait(PATIENCE_SECONDS) == 0
    assert deployment.submissions()[number]["state"] == "canceled"
