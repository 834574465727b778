"""An event from its deployment to its leaderboard, with the commands that people type."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.acceptance.deployment import EVENTS, Deployment

GOOD = sorted(
    path.name
    for path in (EVENTS / "iris" / "kit" / "submissions").iterdir()
    if path.is_dir() and path.name != "broken"
)


def bagged_scores_by_ramp_test(deployment: Deployment, name: str) -> dict[str, dict[str, float]]:
    """Run the kit's own command on the same data, and read the last row of its bagged scores."""
    kit = deployment.event / "kit"
    folder = deployment.directory / "reference"
    shutil.copytree(kit / "submissions" / name, folder / name)
    ramp_test = Path(sys.executable).with_name("ramp-test")
    subprocess.run(
        [
            ramp_test, "--submission", name, "--ramp-kit-dir", kit, "--ramp-data-dir",
            deployment.event / "data", "--ramp-submission-dir", folder, "--save-output",
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    path = folder / name / "training_output" / "bagged_scores.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    last = {row["step"]: row for row in rows}  # rows of a step are in the order of n_bag
    return {
        step: {key: float(value) for key, value in row.items() if key not in ("step", "n_bag")}
        for step, row in last.items()
    }


def test_an_event_runs_from_deployment_to_leaderboard(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment(is_light=False)
    deployment.deploy()
    ids = {name: deployment.submit(name) for name in [*GOOD, "broken"]}
    assert len(GOOD) >= 3

    deployment.dispatch()

    rows = deployment.submissions()
    assert {rows[ids[name]]["state"] for name in GOOD} == {"scored"}
    assert rows[ids["broken"]]["state"] == "training_error"
    assert "Error" in rows[ids["broken"]]["error"]

    board = deployment.json("leaderboard", "--event", "iris")
    assert [row["submission_id"] for row in board] != []
    assert {row["submission"] for row in board} == set(GOOD)
    assert [row["rank"] for row in board] == sorted(row["rank"] for row in board)
    assert len({row["score"] for row in board}) >= 3
    assert all("private_scores" not in row for row in board)

    private = deployment.json("leaderboard", "--event", "iris", "--private")
    reference = bagged_scores_by_ramp_test(deployment, "starting_kit")
    row = next(row for row in private if row["submission"] == "starting_kit")
    for name, expected in reference["valid"].items():
        assert row["scores"][name]["bag"] == expected
    for name, expected in reference["test"].items():
        assert row["private_scores"][name]["bag"] == expected

    number = f"submission_{ids['starting_kit']:09d}"
    assert (deployment.event / "predictions" / number / "fold_0" / "y_pred_test.npz").is_file()
    assert (deployment.event / "predictions" / number / "bagged_scores.csv").is_file()
    assert (deployment.event / "logs" / number / "log").is_file()
    assert list((deployment.event / "work" / "attempts").iterdir()) == []

    table = deployment.ramp("leaderboard", "--event", "iris").stdout
    assert all(name in table for name in GOOD)
    assert "broken" not in table


def test_a_submission_may_come_as_an_archive(deployment: Deployment) -> None:
    source = deployment.event / "kit" / "submissions"
    for kind in ("zip", "gztar"):
        shutil.make_archive(str(deployment.directory / kind), kind, source, "starting_kit")
    for name in ("zip.zip", "gztar.tar.gz"):
        answer = deployment.json(
            "submit", name, "--event", "iris", "--team", "red", "--create-team"
        )
        assert answer["state"] == "new"
        assert answer["name"] == name.split(".")[0]


def test_what_is_missing_in_a_submission_is_named(deployment: Deployment) -> None:
    (deployment.directory / "empty").mkdir()
    (deployment.directory / "wrong").mkdir()
    (deployment.directory / "wrong" / "solution.py").write_text("")
    team = ("--event", "iris", "--team", "red", "--create-team")
    assert "no files" in deployment.ramp("submit", "empty", *team, code=1).stderr
    refused = deployment.ramp("submit", "wrong", *team, code=1).stderr
    assert "'estimator.py'" in refused
    assert "solution.py" in refused
    assert deployment.json("status", "--event", "iris")["submissions"] == []


def test_unknown_names_are_told_with_the_nearest(deployment: Deployment) -> None:
    folder = str(deployment.event / "kit" / "submissions" / "starting_kit")
    missing = deployment.ramp("submit", folder, "--event", "irs", "--team", "red", code=1)
    assert "did you mean 'iris'" in missing.stderr
    deployment.submit("starting_kit", team="green")
    missing = deployment.ramp("submit", folder, "--event", "iris", "--team", "gren", code=1)
    assert "did you mean 'green'" in missing.stderr


def test_the_events_file_may_name_its_folders_as_ramp_does(
    make_deployment: Callable[..., Deployment],
) -> None:
    """``ramp-kits/<problem>`` and ``ramp-data/<problem>`` lie under the deployment's folder."""
    deployment = make_deployment(is_light=False)
    prepare = deployment.event / "data" / "prepare_data.py"
    subprocess.run([sys.executable, prepare.name], cwd=prepare.parent, check=True)
    prepare.unlink()
    for part, place in (("kit", "ramp-kits"), ("data", "ramp-data")):
        (deployment.directory / place).mkdir()
        shutil.move(deployment.event / part, deployment.directory / place / "iris")
    deployment.deploy()
    deployment.ramp(
        "submit", "ramp-kits/iris/submissions/starting_kit",
        "--event", "iris", "--team", "blue", "--create-team",
    )  # fmt: skip
    deployment.dispatch()
    assert [row["state"] for row in deployment.submissions().values()] == ["scored"]


@pytest.mark.parametrize("command", ["ramp", "ramp-launch", "ramp-database", "ramp-setup"])
def test_the_commands_are_installed(command: str) -> None:
    program = Path(sys.executable).with_name(command)
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert "Usage" in done.stdout


def test_an_event_that_hides_validation_labels_is_scored_as_ever(
    make_deployment: Callable[..., Deployment],
) -> None:
    deployment = make_deployment(is_light=False)
    path = deployment.directory / deployment.event_config
    hiding = "evaluation:\n  hide_validation_labels: true\n"
    path.write_text(path.read_text().replace("evaluation:\n", hiding))
    deployment.deploy()
    submission = deployment.submit("starting_kit")
    deployment.dispatch()
    assert deployment.submissions()[submission]["state"] == "scored"
    (row,) = deployment.json("leaderboard", "--event", "iris", "--private")
    reference = bagged_scores_by_ramp_test(deployment, "starting_kit")
    for name, expected in reference["valid"].items():
        assert row["scores"][name]["bag"] == expected
    for name, expected in reference["test"].items():
        assert row["private_scores"][name]["bag"] == expected
    log = deployment.event / "logs" / f"submission_{submission:09d}" / "log"
    assert "labels of a fold's validation part are hidden from it" in log.read_text()
    assert "verified, " in deployment.ramp("verify", str(submission)).stdout
