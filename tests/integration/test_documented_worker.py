"""A worker written as RAMP's documentation shows it runs unchanged, alone.

Under the dispatcher it is shown in `tests/acceptance/test_plugins.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.errors import WorkerStateError
from ramp_engine.testing import Scenario, ToyEvent
from tests.integration.documented_worker import MyWorker

NAME = "submission_000000001"


@pytest.fixture
def worker(toy_event: ToyEvent, tmp_path: Path) -> MyWorker:
    return MyWorker(toy_event.config(tmp_path, NAME, Scenario.GOOD), NAME)


def test_it_runs_alone(worker: MyWorker, tmp_path: Path) -> None:
    assert worker.launch() == (0, "")
    assert worker.status == "killed"
    assert {path.name for path in (tmp_path / "predictions" / NAME / "fold_1").iterdir()} >= {
        "y_pred_train.npz",
        "y_pred_test.npz",
        "state.txt",
    }
    assert b"Bagged scores" in (tmp_path / "logs" / NAME / "log").read_bytes()


def test_its_status_goes_the_documented_way(worker: MyWorker) -> None:
    seen = [worker.status]
    worker.setup()
    seen.append(worker.status)
    worker.launch_submission()
    seen.append(worker.status)
    with pytest.raises(WorkerStateError):
        worker.collect_results()
    worker._proc.wait()
    seen.append(worker.status)
    worker.collect_results()
    seen.append(worker.status)
    worker.teardown()
    seen.append(worker.status)
    assert seen == ["initialized", "setup", "running", "finished", "collected", "killed"]


def test_a_failing_submission_is_told(toy_event: ToyEvent, tmp_path: Path) -> None:
    worker = MyWorker(toy_event.config(tmp_path, NAME, Scenario.FAILING), NAME)
    returncode, error_msg = worker.launch()
    assert returncode != 0
    assert "planted failure" in error_msg
