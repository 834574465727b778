"""A worker written as RAMP's documentation shows it ("Create your own worker") runs unchanged.

The class below is that section's code: the methods, the calls of ``super()`` at their places, the
status set by hand, the config keys, the tuple that is returned. It runs ``ramp-test --save-output``
in a subprocess where the section leaves the platform open.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ramp_engine.base import BaseWorker
from ramp_engine.errors import WorkerStateError
from ramp_engine.testing import Scenario, ToyEvent

logger = logging.getLogger("my_worker")
NAME = "submission_000000001"


class MyWorker(BaseWorker):
    def setup(self):
        assert True
        # call the base class to update the status and log
        super().setup()

    def launch_submission(self):
        self._proc = subprocess.Popen(
            [
                os.path.join(os.path.dirname(sys.executable), "ramp-test"),  # noqa: PTH118, PTH120
                "--submission",
                self.submission,
                "--ramp-kit-dir",
                self.config["kit_dir"],
                "--ramp-data-dir",
                self.config["data_dir"],
                "--ramp-submission-dir",
                self.config["submissions_dir"],
                "--save-output",
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        # call the base class to update the status and log
        super().launch_submission()

    def _is_submission_finished(self):
        """Status of the submission.

        The submission was launched in a subprocess. Calling ``poll()`` will
        indicate the status of this subprocess.
        """
        return False if self._proc.poll() is None else True  # noqa: SIM211

    def collect_results(self):
        # the base class will be in charge of checking that the state of
        # the worker is fine
        super().collect_results()
        stdout, stderr = self._proc.communicate()
        error_msg = (
            "" if self._proc.returncode == 0 else stdout.decode()
        )  # where ramp-test tells it
        # write the prediction and logs at the location indicated by the
        # dispatcher (given by the config file)
        log_output = stdout + b"\n\n" + stderr
        log_dir = os.path.join(self.config["logs_dir"], self.submission)  # noqa: PTH118
        if not os.path.exists(log_dir):  # noqa: PTH110
            os.makedirs(log_dir)  # noqa: PTH103
        with open(os.path.join(log_dir, "log"), "wb+") as f:  # noqa: PTH118, PTH123
            f.write(log_output)
        pred_dir = os.path.join(self.config["predictions_dir"], self.submission)  # noqa: PTH118
        output_training_dir = os.path.join(  # noqa: PTH118
            self.config["submissions_dir"], self.submission, "training_output"
        )
        if os.path.exists(pred_dir):  # noqa: PTH110
            shutil.rmtree(pred_dir)
        shutil.copytree(output_training_dir, pred_dir)
        self.status = "collected"
        logger.info(repr(self))
        return (self._proc.returncode, error_msg)

    def teardown(self):
        # clean some jobs done by the worker
        # ...
        # call the base class to update the status and log
        super().teardown()


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
