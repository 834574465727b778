"""The contract of a worker, as a suite: what every worker holds, whatever it runs on.

A plugin's test is a subclass with one fixture::

    class TestMyWorker(WorkerConformance):
        capabilities = MyWorker.capabilities

        @pytest.fixture
        def make_worker(self, toy_event, tmp_path):
            def make(scenario, *, timeout=60.0, submission="submission_000000001"):
                config = toy_event.config(tmp_path, submission, scenario, timeout=timeout)
                return MyWorker(config, submission)
            return make

`ramp_engine.testing.ToyEvent` gives submissions that play the scenarios.
"""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.base import TIMEOUT_RETURNCODE, BaseWorker, Capability, WorkerStatus
from ramp_engine.errors import WorkerStateError
from ramp_engine.evaluation.supervise import descendants
from ramp_engine.testing.adoption import AdoptionConformance
from ramp_engine.testing.auditing import audited
from ramp_engine.testing.scenarios import BAD_BYTES, FAILURE, HEAD, TAIL, Scenario
from ramp_engine.testing.worker_lives import (
    STATUSES,
    MakeWorker,
    log_of,
    run_until_ended,
    running,
)

__all__ = ["MakeWorker", "WorkerConformance", "run_until_ended"]

#: A log that was cut is no longer than this, in bytes.
MAX_LOG_BYTES = 64 << 20
#: No call of a worker takes longer than that because of its submission, in seconds.
CALL_SECONDS = 60.0
_ODD_NAME = "sub 'mission' \"ü\"; $(exit) %s"


class WorkerConformance(AdoptionConformance):
    """Subclass it, name it ``Test...``, and give the fixture `make_worker`."""

    @pytest.fixture
    def make_worker(self) -> MakeWorker:
        """Give the factory; every subclass has its own."""
        raise NotImplementedError("a subclass of WorkerConformance gives the fixture make_worker")

    @pytest.fixture
    def machines(self) -> Collection[int]:
        """Name processes that stand for other machines: what starts and ends there is not ours."""
        return ()

    @pytest.fixture
    def make(self, make_worker: MakeWorker, machines: Collection[int]) -> Iterator[MakeWorker]:
        """Tear down every worker at the end, and look for processes that are left."""
        before = set(descendants(os.getpid()))
        made: list[BaseWorker] = []

        def make(scenario: Scenario, **options: Any) -> BaseWorker:
            made.append(make_worker(scenario, **options))
            return made[-1]

        yield make
        for worker in made:
            worker.teardown()
        left = set(descendants(os.getpid())) - before
        left -= {pid for machine in machines for pid in descendants(machine)}
        # One of a machine's own may have ended between the two looks.
        assert left.isdisjoint(descendants(os.getpid())), "processes are left"

    def test_a_good_run_gives_predictions_andlog_of(self, make: MakeWorker) -> None:
        """The status goes its way, and what was asked for is there."""
        worker = make(Scenario.GOOD)
        assert worker.status == "initialized"
        assert run_until_ended(worker) == "finished"
        assert worker.collect_results() == (0, "")
        assert worker.status == "collected"
        assert log_of(worker).is_file()
        for fold in range(worker.config["n_folds"]):
            names = {path.name.split(".")[0] for path in _fold(worker, fold).iterdir()}
            assert {"y_pred_train", "y_pred_test"} <= names

    def test_it_runs_alone(self, make: MakeWorker) -> None:
        """``launch()`` does everything and tears down."""
        worker = make(Scenario.GOOD)
        assert worker.launch() == (0, "")
        assert worker.status == "killed"

    def test_failing_code_is_told_and_is_no_error_of_the_worker(self, make: MakeWorker) -> None:
        """The participant's failure comes as return code and message."""
        returncode, error_msg = make(Scenario.FAILING).launch()
        assert returncode != 0
        assert FAILURE in error_msg

    def test_code_that_ends_its_process_is_no_success(self, make: MakeWorker) -> None:
        """``os._exit(0)`` leaves nothing, and that is told."""
        returncode, error_msg = make(Scenario.EXITING).launch()
        assert returncode != 0
        assert error_msg

    def test_the_time_limit_ends_a_run(self, make: MakeWorker) -> None:
        """The status becomes ``timeout``; a worker that ends the run itself has kept the log."""
        worker = make(Scenario.HANGING, timeout=0.5)
        assert run_until_ended(worker) == "timeout"
        if Capability.TIME_LIMIT in self.capabilities:
            assert worker.collect_results()[0] == TIMEOUT_RETURNCODE
            assert log_of(worker).is_file()

    def test_cancel_ends_a_run(self, make: MakeWorker) -> None:
        """Nothing of it is left."""
        worker = running(make)
        worker.cancel()
        assert worker.status == "killed"

    @pytest.mark.parametrize("status", list(STATUSES))
    def test_teardown_is_safe_from_any_status_and_twice(
        self, make: MakeWorker, status: WorkerStatus
    ) -> None:
        """It releases everything, at once."""
        worker = STATUSES[status](make)
        assert worker.last_status == status
        worker.teardown()
        worker.teardown()
        assert worker.status == "killed"

    @pytest.mark.parametrize("status", ["initialized", "setup", "running"])
    def test_results_cannot_be_collected_too_early(self, make: MakeWorker, status: str) -> None:
        """The error says which status it needs."""
        worker = STATUSES[WorkerStatus(status)](make)
        with pytest.raises(WorkerStateError, match=f"the worker is '{status}'"):
            worker.collect_results()

    def test_a_submission_cannot_be_launched_without_setup(self, make: MakeWorker) -> None:
        """The order is setup, launch, collect."""
        with pytest.raises(WorkerStateError):
            make(Scenario.GOOD).launch_submission()

    def test_a_submission_cannot_be_launched_twice(self, make: MakeWorker) -> None:
        """One worker runs one submission once."""
        worker = running(make)
        with pytest.raises(WorkerStateError):
            worker.launch_submission()
        assert worker.last_status == "running"

    def test_bad_bytes_in_the_log_are_kept_as_they_are(self, make: MakeWorker) -> None:
        """A log is bytes."""
        worker = make(Scenario.BAD_BYTES)
        assert worker.launch() == (0, "")
        assert BAD_BYTES in log_of(worker).read_bytes()

    def test_of_a_large_log_head_and_tail_are_there(self, make: MakeWorker) -> None:
        """It harms nothing, and may be cut in the middle."""
        worker = make(Scenario.LARGE_LOG)
        assert worker.launch() == (0, "")
        text = log_of(worker).read_bytes()
        assert len(text) <= MAX_LOG_BYTES
        assert text.index(HEAD.encode()) < text.index(TAIL.encode())

    def test_odd_names_do_no_harm(self, make: MakeWorker) -> None:
        """A name is data, for shells and paths alike."""
        assert make(Scenario.GOOD, submission=_ODD_NAME).launch() == (0, "")

    def test_a_fold_that_is_done_is_handed_over_while_another_runs(self, make: MakeWorker) -> None:
        """It is complete, it stays, and the worker goes on."""
        self._needs(Capability.FOLDS)
        worker = make(Scenario.HALF)
        assert list(worker.collect_done_folds()) == []
        worker.setup()
        worker.launch_submission()
        deadline = time.monotonic() + CALL_SECONDS
        while not worker.collect_done_folds():
            assert time.monotonic() < deadline, "no fold is handed over"
            assert worker.status is WorkerStatus.RUNNING
            worker.wait(0.05)
        assert list(worker.collect_done_folds()) == [0]
        names = {path.name.split(".")[0] for path in _fold(worker, 0).iterdir()}
        assert {"y_pred_train", "y_pred_test", "state", "train_time"} <= names
        assert (_fold(worker, 0) / "state.txt").read_text().strip() == "tested"
        assert not _fold(worker, 1).exists()
        assert worker.status is WorkerStatus.RUNNING

    def test_only_the_folds_that_are_asked_for_are_run(self, make: MakeWorker) -> None:
        """The log says which attempt has done the others."""
        self._needs(Capability.FOLDS)
        worker = make(Scenario.GOOD)
        worker.config |= {"folds": [1], "kept_folds": {0: 7}}
        assert worker.launch() == (0, "")
        assert _fold(worker, 1).is_dir()
        assert not _fold(worker, 0).exists()
        assert b"fold 0 is kept from attempt 7" in log_of(worker).read_bytes()

    def test_repr_does_no_io_and_tells_no_secret(self, make: MakeWorker) -> None:
        """It names the class, the submission and the last known status."""
        worker = running(make)
        worker.config["some_key"] = "hidden-words"
        with audited() as events:
            text = repr(worker)
        assert events == []
        assert type(worker).__name__ in text
        assert 'status="running"' in text
        assert "hidden-words" not in text

    def test_a_wait_ends_when_it_is_woken(self, make: MakeWorker) -> None:
        """Another thread can make the driver look up, for a cancel."""
        worker = running(make)
        threading.Timer(0.01, worker.wake).start()
        worker.wait(30.0)
        assert worker.status == "running"

    def test_an_interruption_asks_for_another_attempt_which_goes_well(
        self, make: MakeWorker
    ) -> None:
        """The status becomes ``retry``; nothing of the first attempt is in the way of the next."""
        self._needs(Capability.INTERRUPT)
        first = make(Scenario.INTERRUPTED)
        assert run_until_ended(first) == "retry"
        first.cancel()
        first.teardown()
        assert make(Scenario.GOOD, submission="submission_000000002").launch() == (0, "")

    @pytest.mark.parametrize("method", ["status", "cancel", "teardown", "detach"])
    def test_no_call_hangs_on_a_submission_that_hangs(self, make: MakeWorker, method: str) -> None:
        """A submission that ignores signals and forks costs time of its own, not its worker's."""
        worker = running(make)
        done = threading.Event()

        def call() -> None:
            attribute = getattr(worker, method)
            if callable(attribute):
                attribute()
            done.set()

        threading.Thread(target=call, name=f"conformance-{method}", daemon=True).start()
        assert done.wait(CALL_SECONDS), f"{method} has not returned after {CALL_SECONDS:.0f} s"


def _fold(worker: BaseWorker, fold: int) -> Path:
    return Path(worker.config["predictions_dir"], worker.submission, f"fold_{fold}")
