"""Faults in what a worker leaves, and in what it makes of a loss; see `planted`."""
# ruff: noqa: N801, RUF012  each class is a table of a fault and what is due

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.base import Capability, WorkerStatus
from ramp_engine.errors import WorkerError
from ramp_engine.testing import FakeWorker, Scenario
from tests.conformance.planted import TEARDOWN, Planted

STRAYS = "test_it_writes_to_its_own_folders_only"
LOST = "test_a_lost_connection_is_told_in_time_and_blames_nobody"
#: Of tests that have to wait for what never comes, in seconds.
PATIENCE = 2.0


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
