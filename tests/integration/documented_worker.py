"""A worker written as RAMP's documentation shows it, in its section "Create your own worker".

The class is that section's code: the methods, the calls of ``super()`` at their places, the status
set by hand, the config keys, the tuple that is returned. It runs ``ramp-test --save-output`` in a
subprocess where the section leaves the platform open.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys

from ramp_engine.base import BaseWorker

logger = logging.getLogger("my_worker")


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
