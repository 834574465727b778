"""Workers with a fault each, and which tests of the suite find it; run by `test_planted_faults`."""
# ruff: noqa: N801, RUF012  each class is a table of a fault and what is due

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.base import TIMEOUT_RETURNCODE, Capability, WorkerStatus
from ramp_engine.errors import WorkerError
from ramp_engine.testing import FakeWorker, Scenario
from ramp_engine.testing.scenarios import HEAD, TAIL
from tests.conformance.fakes import FakeConformance

GOOD_RUN = "test_a_good_run_gives_predictions_and_log"
TEARDOWN = "test_teardown_is_safe_from_any_status_and_twice"
STRAYS = "test_it_writes_to_its_own_folders_only"
LOST = "test_a_lost_connection_is_told_in_time_and_blames_nobody"
#: Of tests that have to wait for what never comes, in seconds.
PATIENCE = 2.0


class Planted(FakeConformance):
    """A fault.

    Attributes
    ----------
    caught_by : dict
        The tests that fail, and a part of what each says.
    is_broad : bool
        Whether others fail as well, since hardly anything works with such a fault; they are not
        run.
    """

    caught_by: ClassVar[dict[str, str]]
    is_broad: ClassVar[bool] = False


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


# -- what is left and touched ---------------------------------------------------------------------


class Leaking(FakeWorker):
    started: ClassVar[list[subprocess.Popen[bytes]]] = []

    def launch_submission(self) -> None:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        self.started.append(subprocess.Popen(command))
        super().launch_submission()

    def collect_results(self) -> tuple[int, str]:
        answer = super().collect_results()
        self.end_all()  # and no other method does
        return answer

    @classmethod
    def end_all(cls) -> None:
        while cls.started:
            process = cls.started.pop()
            process.kill()
            process.wait()


class TestLeakingProcess(Planted):
    kind = Leaking
    caught_by = {
        "test_cancel_ends_a_run": "teardown() must end all processes of the run",
        f"{TEARDOWN}[running]": "time.sleep(600)",
    }
    is_broad = True

    @pytest.fixture(autouse=True)
    def nothing_left_in_the_end(self) -> Iterator[None]:
        yield  # as the first fixture it is the last to end: the suite has looked by then
        Leaking.end_all()


class TestWritesToTheWorkingDirectory(Planted):
    class kind(FakeWorker):
        def launch_submission(self) -> None:
            super().launch_submission()
            Path("job.sh").write_text("sleep 1")

    caught_by = {STRAYS: "job.sh was left behind"}

    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)


class TestWritesToTheFolderOfAnother(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            Path(self.config["predictions_dir"], "all.json").write_text("{}")
            return super().collect_results()

    caught_by = {STRAYS: "all.json was left behind"}


class TestLeavesATemporaryFile(Planted):
    class kind(FakeWorker):
        def setup(self) -> None:
            handle, self.temporary = tempfile.mkstemp(prefix="job-")
            os.close(handle)
            super().setup()

    caught_by = {STRAYS: "was left behind"}


class TestEndsOthers(Planted):
    class kind(FakeWorker):
        ended: ClassVar[set[str]] = set()

        def _is_submission_finished(self) -> bool:
            return super()._is_submission_finished() or self.config["logs_dir"] in self.ended

        def teardown(self) -> None:
            self.ended.add(self.config["logs_dir"])
            super().teardown()

    caught_by = {"test_the_end_of_a_worker_leaves_another_one_alone": "must carry its name"}


class TestReapsTheLiving(Planted):
    class kind(FakeWorker):
        reaps = True
        ended: ClassVar[set[str]] = set()

        @classmethod
        def reap(cls, config: Any, *_: Any) -> None:
            cls.ended.add(config["logs_dir"])

        def _is_submission_interrupted(self) -> bool:
            is_lost = self.config["logs_dir"] in self.ended
            return is_lost or super()._is_submission_interrupted()

    caught_by = {"test_reaping_ends_nothing_that_somebody_answers_for": "is_live() was True"}


class TestReprTellsAll(Planted):
    class kind(FakeWorker):
        def __repr__(self) -> str:
            return super().__repr__() + str(self.config)

    caught_by = {"test_repr_does_no_io_and_tells_no_secret": "holds secrets"}


# -- hanging, and lost ----------------------------------------------------------------------------


class TestHangingCancel(Planted):
    class kind(FakeWorker):
        capabilities = frozenset({Capability.TIME_LIMIT})

        def cancel(self) -> None:
            while self.last_status == "running":
                threading.Event().wait()
            super().cancel()

    capabilities = kind.capabilities
    patience_seconds = PATIENCE
    caught_by = {
        "test_cancel_ends_a_run": "cancel() has not returned after 2 s",
        "test_no_call_hangs_on_a_submission_that_hangs[cancel]": "has not returned after 2 s",
    }


class TestDeafWait(Planted):
    class kind(FakeWorker):
        def wait(self, timeout_seconds: float) -> None:
            if self.behaviour.scenario is Scenario.HANGING:
                threading.Event().wait(timeout_seconds)
            else:
                super().wait(timeout_seconds)

    patience_seconds = PATIENCE
    caught_by = {"test_a_wait_ends_when_it_is_woken": "though wake() was called"}


class TestTimeLimitIgnored(Planted):
    class kind(FakeWorker):
        def check_timeout(self) -> bool:
            return False

    patience_seconds = PATIENCE
    caught_by = {
        "test_the_time_limit_ends_a_run": "check_timeout() after config['timeout'] seconds",
        "test_the_time_limit_of_an_adopted_run_counts_from_its_start": "elapsed_seconds",
    }


class TestLostConnectionTakenForAFailure(Planted):
    class kind(FakeWorker):
        def _is_submission_finished(self) -> bool:
            try:
                return super()._is_submission_finished()
            except WorkerError:
                return True

        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            return (1, "connection reset") if self.behaviour.fail_in == "status" else answer

    caught_by = {LOST: "(1, 'connection reset') is told"}


class TestLostConnectionNeverNoticed(Planted):
    class kind(FakeWorker):
        def _is_submission_finished(self) -> bool:
            try:
                return super()._is_submission_finished()
            except WorkerError:
                return False  # perhaps it comes back

    patience_seconds = PATIENCE
    caught_by = {LOST: "still 'running' after 2 s"}


class TestNothingFetchedOverALostConnection(Planted):
    class kind(FakeWorker):
        def collect_results(self) -> tuple[int, str]:
            answer = super().collect_results()
            if self.behaviour.fail_in == "status":
                for path in Path(self.config["predictions_dir"]).glob("*/fold_*/*.npz"):
                    path.unlink()
            return answer

    caught_by = {LOST: "It must bring the predictions of all folds"}


class TestInterruptionTakenForTheEnd(Planted):
    class kind(FakeWorker):
        def _poll(self) -> None:
            super()._poll()
            if self.last_status == "retry":
                self.status = WorkerStatus.FINISHED

    caught_by = {
        "test_an_interruption_asks_for_another_attempt_which_goes_well": "must return True"
    }


class TestAdoptsWhatIsGone(Planted):
    class kind(FakeWorker):
        def attach(self, handle: str) -> None:
            Path(handle).touch()
            super().attach(handle)

    caught_by = {
        "test_a_run_that_is_gone_cannot_be_adopted": "must raise WorkerError: WorkerLostError",
        "test_an_adopted_run_can_be_canceled": "must raise WorkerError: WorkerLostError",
    }


class TestAdoptedRunBringsNothing(Planted):
    class kind(FakeWorker):
        def attach(self, handle: str) -> None:
            super().attach(handle)
            self._handed = [0, 1]

    caught_by = {
        "test_a_run_is_adopted_by_its_handle": "is missing",
        "test_a_worker_that_let_go_of_a_run_ends_nothing_of_it": "is missing",
    }


class TestDetachEndsTheRun(Planted):
    class kind(FakeWorker):
        def detach(self) -> None:
            self.teardown()

    caught_by = {
        "test_a_worker_that_let_go_of_a_run_ends_nothing_of_it": "there is no run",
        "test_an_adopted_run_can_be_canceled": "there is no run",
    }


class TestHandleOfAMortalRun(Planted):
    class kind(FakeWorker):
        capabilities = FakeWorker.capabilities - {Capability.ADOPT}

        def handle(self) -> str | None:
            return "42"

    capabilities = kind.capabilities
    caught_by = {
        "test_a_worker_that_cannot_adopt_has_no_handle_and_refuses_one": "declare Capability.ADOPT"
    }
