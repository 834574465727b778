"""A log is followed while the submission runs, and to its end."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, wait_until

CODE = """
    import itertools
    import time

    import numpy as np


    class Talker:
        def fit(self, X, y):
            self.classes_ = np.unique(y)
            for number in {numbers}:
                print(f"line {{number}}\\x1b[2J", flush=True)
                time.sleep(0.2)
            return self

        def predict_proba(self, X):
            print("of", len(X), "rows", flush=True)
            return np.full((len(X), 3), 1 / 3)


    def get_estimator():
        return Talker()
"""


def talker(numbers: str) -> dict[str, str]:
    return {"estimator.py": CODE.format(numbers=numbers)}


def follow(deployment: Deployment, number: int) -> tuple[subprocess.Popen[str], Path]:
    """Follow a log; give the process and the file of what it prints."""
    output = deployment.directory / f"process_{len(deployment.processes)}.log"
    return deployment.start("logs", "--follow", str(number)), output


def launch(deployment: Deployment) -> None:
    deployment.start("launch", "dispatcher", "--event-config", str(deployment.event_config))


def test_a_log_is_shown_while_the_submission_runs_until_it_is_canceled(
    deployment: Deployment,
) -> None:
    number = deployment.submit("endless", talker("itertools.count()"))
    launch(deployment)
    follower, output = follow(deployment, number)
    assert wait_until(lambda: "line 9" in output.read_text()), output.read_text()
    assert deployment.submissions()[number]["state"] == "training"
    deployment.ramp("cancel", str(number), "--reason", "seen enough")
    assert follower.wait(PATIENCE_SECONDS) == 0
    shown = output.read_text()
    assert f"submission {number} runs, attempt 1: its log follows" in shown
    assert shown.rstrip().endswith(f"submission {number} has ended: canceled\nseen enough")
    kept = deployment.ramp("logs", str(number)).stdout
    assert "line 9" in kept, "what it has printed until then is kept"
    assert "the run was ended in fold 0, training" in kept


def test_a_log_is_waited_for_and_followed_to_the_score_without_what_testing_printed(
    deployment: Deployment,
) -> None:
    number = deployment.submit("talker", talker("range(5)"))
    follower, output = follow(deployment, number)
    assert wait_until(lambda: "waits to be evaluated" in output.read_text())
    launch(deployment)
    assert follower.wait(PATIENCE_SECONDS) == 0
    shown = output.read_text()
    assert shown.count("line 4") == shown.count("of 100 rows") == 2, "of each of two folds"
    assert "of 50 rows" not in shown
    assert shown.rstrip().endswith(f"submission {number} has ended: scored")
    again = deployment.ramp("logs", "--follow", str(number))
    assert again.stdout.count("line 4") == 2
    assert "has ended: scored" in again.stderr
    assert "no --follow" in deployment.ramp("logs", "--follow", "--private", "1", code=2).stderr


def test_an_archive_is_submitted_as_its_folder_would_be(deployment: Deployment) -> None:
    archive = deployment.directory / "packed.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(deployment.event / "kit" / "submissions" / "starting_kit", "starting_kit")
    options = ("--event", "iris", "--team", "blue", "--create-team")
    packed = deployment.json("submit", str(archive), *options)
    folder = deployment.event / "kit" / "submissions" / "starting_kit"
    plain = deployment.json("submit", str(folder), *options)
    assert packed["name"] == "packed"
    assert packed["content_hash"] == plain["content_hash"]
