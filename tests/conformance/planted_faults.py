"""Faults in what a worker does for a submission; see `planted`."""
# ruff: noqa: N801, RUF012  each class is a table of a fault and what is due

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ramp_engine.base import TIMEOUT_RETURNCODE, Capability
from ramp_engine.testing import FakeWorker, Scenario
from ramp_engine.testing.scenarios import HEAD, TAIL
from tests.conformance.planted import GOOD_RUN, TEARDOWN, Planted


def log_of(worker: FakeWorker) -> Path:
    return Path(worker.config["logs_dir"], worker.submission, "log")


# -- the calls of the base class ------------------------------------------------------------------


class TestSetupWithoutSuper(Planted):
    class kind(FakeWorker):
        def setup(self) -> None:
            pass

    caught_by = {GOOD_RUN: "setup() ends with super().setup()"}
    is_broad = True


class TestTeardownWithoutSuper(Planted):
    class kind(FakeWorker):
        def teardown(self) -> None:
            self.released.set()

    caught_by = {
        GOOD_RUN: "teardown() ends with super().teardown()",
        f"{TEARDOWN}[collected]": "teardown() ends with super().teardown()",
    }
    is_broad = True


class TestTeardownNotTwice(Planted):
    class kind(FakeWorker):
        def teardown(self) -> None:
            if self.last_status == "killed":
                raise FileNotFoundError("the folder of the run")
            super().teardown()

    caught_by = {f"{TEARDOWN}[{status}]": "FileNotFoundError" for status in ("setup", "running")}
    is_broad = True


class TestStatusNotCollected(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            self.status = "finished"
            return answer

    caught_by = {
        GOOD_RUN: "collect_results() ends with self.status = 'collected'",
        f"{TEARDOWN}[collected]": "should be",
        "test_results_are_collected_once_and_not_too_early[collected]": "must raise",
    }


class TestCollectedTooEarly(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            self.status = "finished"
            return super().collect_results()

    caught_by = {
        f"test_results_are_collected_once_and_not_too_early[{status}]": "must raise WorkerStateErr"
        for status in ("initialized", "setup", "running", "collected")
    } | {"test_cancel_ends_a_run": "collect_results() after cancel() must raise"}


class TestSetUpAgain(Planted):
    class kind(FakeWorker):
        def setup(self) -> None:
            self.status = "initialized"
            super().setup()

    caught_by = {"test_a_worker_cannot_be_set_up_twice": "a second setup() must raise"}


class TestLaunchedAtAnyTime(Planted):
    class kind(FakeWorker):
        def launch_submission(self) -> None:
            self.status = "setup"
            super().launch_submission()

    caught_by = {
        "test_a_submission_cannot_be_launched_without_setup": "must raise WorkerStateError",
        "test_a_submission_cannot_be_launched_twice": "a second launch_submission() must raise",
    }


class TestNotTornDownAlone(Planted):
    class kind(FakeWorker):
        def launch(self) -> tuple[int, str]:
            self.setup()
            self.launch_submission()
            while self.status == "running":
                self.wait(1.0)
            if self.status == "timeout":
                return TIMEOUT_RETURNCODE, ""
            return self.collect_results()

    caught_by = {"test_it_runs_alone": "teardown() ends with super().teardown()"}


class TestNumberInPlaceOfTheTuple(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> Any:
            return super().collect_results()[0]

    caught_by = {GOOD_RUN: "must return (returncode, error_msg)"}
    is_broad = True


class TestOtherCapabilities(Planted):
    class kind(FakeWorker):
        capabilities = FakeWorker.capabilities - {Capability.FOLDS}

    caught_by = {"test_its_capabilities_are_declared_as_they_are": "capabilities ="}


# -- what comes back ------------------------------------------------------------------------------


class TestLogOfFailuresLost(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            if answer[0] != 0:
                log_of(self).unlink()
            return answer

    caught_by = {
        "test_failing_code_is_told_and_is_no_error_of_the_worker": "the log of code that failed",
        "test_the_time_limit_ends_a_run": "loses the log",
    }


class TestPartialOutputAccepted(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            code, error_msg = super().collect_results()
            has_code_0 = (Scenario.EXITING, Scenario.PARTIAL, Scenario.TORN)
            return (0, "") if self.behaviour.scenario in has_code_0 else (code, error_msg)

    caught_by = {
        f"test_missing_predictions_are_no_success[{scenario}]": "predictions are missing"
        for scenario in ("exiting", "partial", "torn")
    }


class TestPredictionsHalfFetched(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            for path in Path(self.config["predictions_dir"]).glob("*/fold_*/y_pred_test.npz"):
                os.truncate(path, 100)
            return answer

    caught_by = {GOOD_RUN: "predictions of fold 0 are cut off"}
    is_broad = True


class TestHugeLogNotCut(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            if self.behaviour.scenario is Scenario.LARGE_LOG:
                with log_of(self).open("r+b") as log:
                    log.truncate(70 << 20)
            return answer

    caught_by = {"test_of_a_large_log_head_and_tail_are_there": "should have been cut"}


class TestTailOfLogLost(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            text = log_of(self).read_text(errors="surrogateescape")
            if HEAD in text:
                log_of(self).write_text(text.replace(TAIL, ""))
            return answer

    caught_by = {"test_of_a_large_log_head_and_tail_are_there": "cut it in the middle"}


class TestLogAsText(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            log_of(self).write_text(log_of(self).read_text(errors="replace"))
            return answer

    caught_by = {"test_bad_bytes_in_the_log_are_kept_as_they_are": "as bytes"}


class TestOddNameChanged(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            given, self.submission = self.submission, self.submission.split()[0]
            answer = super().collect_results()
            self.submission = given
            return answer

    caught_by = {"test_odd_names_do_no_harm": "is missing"}


class TestAllFoldsRunAgain(Planted):
    class kind(FakeWorker):
        @property
        def _folds(self) -> list[int]:
            return list(range(self.config["n_folds"]))

    caught_by = {"test_only_the_folds_that_are_asked_for_are_run": "was not asked for"}


class TestFoldHandedOverInPart(Planted):
    class kind(FakeWorker):
        def collect_done_folds(self) -> Collection[int]:
            done = super().collect_done_folds()
            for path in Path(self.config["predictions_dir"]).glob("*/fold_*/y_pred_train.npz"):
                path.unlink(missing_ok=True)
            return done

    caught_by = {"test_a_fold_that_is_done_is_handed_over_while_another_runs": "is missing"}
