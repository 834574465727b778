"""Folds that are done: their scores are seen while others run, and no crash loses them."""

from __future__ import annotations

import csv
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.deployment import PATIENCE_SECONDS, Deployment, processes_of, wait_until

#: Counts its folds in a file, and waits in the second one until it is let go.
SLOW = """
    import os, pathlib, time
    import numpy as np

    HERE = pathlib.Path({here!r})

    class Slow:
        def fit(self, X, y):
            print("trained here")
            n = len(list(HERE.glob("fit_*")))
            (HERE / "parent").write_text(str(os.getppid()))
            (HERE / f"fit_{{n}}").touch()
            while n == 1 and not (HERE / "go").exists():
                time.sleep(0.02)
            self.classes_, n_rows = np.unique(y, return_counts=True)
            self.share_ = n_rows / len(y)
            return self

        def predict_proba(self, X):
            return np.tile(self.share_, (len(X), 1))

    def get_estimator():
        return Slow()
"""


class Slow:
    """A submission that is in its second fold, under a dispatcher of its own."""

    def __init__(self, deployment: Deployment) -> None:
        deployment.unconfine()
        self.deployment = deployment
        self.here = deployment.directory / "signals"
        self.here.mkdir()
        code = {"estimator.py": SLOW.format(here=str(self.here))}
        self.id = deployment.submit("slow", code)

    def start(self) -> Any:
        config = str(self.deployment.event_config)
        return self.deployment.start("launch", "dispatcher", "--event-config", config)

    def row(self) -> dict[str, Any]:
        return self.deployment.submissions()[self.id]

    def has_partial_scores(self) -> bool:
        return self.row()["partial"] is not None

    @property
    def n_trained(self) -> int:
        return len(list(self.here.glob("fit_*")))

    def let_go(self) -> None:
        (self.here / "go").touch()

    @property
    def supervisor(self) -> int:
        """The process that stands around the fold step, whose child the fold is."""
        status = Path("/proc", (self.here / "parent").read_text(), "status").read_text()
        return int(re.findall(r"^PPid:\s+(\d+)", status, re.MULTILINE)[0])

    @property
    def scores(self) -> dict[str, list[dict[str, str]]]:
        return scores_of(self.deployment, self.id)

    @property
    def log(self) -> str:
        path = self.deployment.event / "logs" / f"submission_{self.id:09d}" / "log"
        return path.read_text()


def scores_of(deployment: Deployment, number: int) -> dict[str, list[dict[str, str]]]:
    """Read all scores of a submission, by file; without the times."""
    folder = deployment.event / "predictions" / f"submission_{number:09d}"
    found = {}
    for path in sorted(folder.rglob("*scores.csv")):
        with path.open(newline="") as file:
            rows = [{key: row[key] for key in row if key != "time"} for row in csv.DictReader(file)]
        found[str(path.relative_to(folder))] = rows
    return found


@pytest.fixture
def slow(deployment: Deployment) -> Slow:
    config = deployment.directory / deployment.event_config
    limits = "  heartbeat_seconds: 0.2\n  stale_after_seconds: 2\n"
    config.write_text(config.read_text() + limits)
    return Slow(deployment)


def test_scores_of_folds_that_are_done_are_seen_and_end_with_the_attempt(slow: Slow) -> None:
    deployment = slow.deployment
    slow.start()
    assert wait_until(slow.has_partial_scores)
    told = deployment.ramp("status", "--event", "iris").stdout
    assert re.search(r"submission 1 \(blue/slow\): 1 of 2 folds: acc 0\.\d\d \(partial\)", told)
    assert "1 of 2 folds: acc 0." in deployment.ramp("explain", str(slow.id)).stdout
    assert deployment.json("leaderboard", "--event", "iris") == []
    (fold,) = slow.row()["partial"]["folds"]
    slow.let_go()
    assert wait_until(lambda: slow.row()["state"] == "scored")
    assert slow.row()["partial"] is None
    assert slow.n_trained == 2
    valid = next(row for row in slow.scores["fold_0/scores.csv"] if row["step"] == "valid")
    public = {name: pytest.approx(float(valid[name])) for name in fold["scores"]}
    assert fold == {"fold": 0, "scores": public}
    assert "acc" in public


def kill(process: Any) -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def kept(deployment: Deployment) -> list[str]:
    directory = deployment.event / "work" / "kept"
    return sorted(path.name for path in directory.iterdir()) if directory.exists() else []


def test_after_a_dispatcher_was_killed_only_the_missing_fold_is_trained(slow: Slow) -> None:
    deployment = slow.deployment
    elsewhere = slow.here / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "go").touch()
    straight = deployment.submit("straight", {"estimator.py": SLOW.format(here=str(elsewhere))})
    process = slow.start()
    assert wait_until(slow.has_partial_scores)
    kill(process)
    assert wait_until(lambda: processes_of(deployment.directory) == [])
    assert (slow.row()["state"], slow.n_trained) == ("training", 2)
    slow.let_go()
    deployment.dispatch()
    rows = deployment.submissions()
    assert (rows[slow.id]["state"], rows[slow.id]["attempt"]) == ("scored", 2)
    assert slow.n_trained == 3
    assert "fold 0 is kept from attempt 1" in slow.log
    assert slow.log.count("trained here") == 1
    assert "; fold 0 kept from attempt 1" in deployment.ramp("explain", str(slow.id)).stdout
    assert kept(deployment) == []
    assert (slow.scores, rows[straight]["state"]) == (scores_of(deployment, straight), "scored")
    assert len(slow.scores) == 3


def test_after_a_shutdown_and_another_deployment_every_fold_is_trained(slow: Slow) -> None:
    deployment = slow.deployment
    process = slow.start()
    assert wait_until(lambda: slow.n_trained == 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_SECONDS) == 0
    assert (slow.row()["state"], kept(deployment)) == ("new", [f"submission_{slow.id:09d}"])
    problem = deployment.event / "kit" / "problem.py"
    problem.write_text(problem.read_text() + "\n# another kit\n")
    deployment.ramp(
        *("setup", "deploy-event", "--event-config", str(deployment.event_config), "--force")
    )
    slow.let_go()
    deployment.dispatch()
    assert (slow.row()["state"], slow.row()["attempt"], slow.n_trained) == ("scored", 2, 4)
    told = deployment.ramp("explain", str(slow.id)).stdout
    assert "earlier folds are of no use, changed: bundle" in told
    assert kept(deployment) == []


def test_after_its_processes_were_killed_the_run_goes_on_with_the_missing_fold(slow: Slow) -> None:
    slow.start()
    assert wait_until(lambda: slow.n_trained == 2)
    os.kill(slow.supervisor, signal.SIGKILL)
    slow.let_go()
    assert wait_until(lambda: slow.row()["state"] == "scored")
    assert (slow.row()["attempt"], slow.n_trained) == (2, 3)
    assert "fold 0 is kept from attempt 1" in slow.log
    told = slow.deployment.json("explain", str(slow.id))
    assert [one["outcome"] for one in told["attempts"]] == ["crashed", "succeeded"]
    assert kept(slow.deployment) == []
