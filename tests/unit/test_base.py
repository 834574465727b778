"""The contract of a worker, as far as it needs neither process nor file."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from ramp_engine.base import BaseWorker, WorkerStatus
from ramp_engine.errors import WorkerError, WorkerLostError, WorkerStateError
from ramp_engine.testing import ManualClock


class Steps(BaseWorker):
    """A worker whose run ends when the test says so."""

    is_finished = False
    is_interrupted = False
    n_questions = 0

    def _is_submission_finished(self) -> bool:
        self.n_questions += 1
        return self.is_finished

    def _is_submission_interrupted(self) -> bool:
        return self.is_interrupted

    def collect_results(self) -> tuple[int, str]:
        super().collect_results()
        self.status = "collected"
        return 0, ""


def running(**config: Any) -> Steps:
    worker = Steps(config, "submission_000000001")
    worker.clock = ManualClock()
    worker.setup()
    worker.launch_submission()
    return worker


def test_the_statuses_are_those_that_ramp_users_know() -> None:
    assert [str(status) for status in WorkerStatus] == [
        "initialized",
        "setup",
        "running",
        "finished",
        "collected",
        "retry",
        "timeout",
        "error",
        "killed",
    ]


def test_a_status_is_compared_with_a_string() -> None:
    assert running().status == "running"


def test_the_status_is_finished_when_the_run_has_ended() -> None:
    worker = running()
    worker.is_finished = True
    assert worker.status == "finished"


def test_an_interruption_counts_before_the_end_of_the_run() -> None:
    worker = running()
    worker.is_finished = worker.is_interrupted = True
    assert worker.status == "retry"


def test_the_status_is_timeout_when_the_time_limit_has_passed() -> None:
    worker = running(timeout=5)
    worker.clock.advance(4.9)
    assert worker.status == "running"
    worker.clock.advance(0.1)
    assert worker.status == "timeout"


def test_without_a_time_limit_a_run_never_times_out() -> None:
    worker = running()
    worker.clock.advance(1e9)
    assert worker.status == "running"


def test_a_status_once_reached_is_not_asked_for_again() -> None:
    worker = running()
    worker.is_finished = True
    assert [worker.status, worker.status] == ["finished", "finished"]
    assert worker.n_questions == 1


def test_the_last_status_asks_nobody() -> None:
    worker = running()
    worker.is_finished = True
    assert worker.last_status == "running"
    assert worker.n_questions == 0


def test_a_worker_may_read_its_status_while_it_is_asked() -> None:
    class Curious(Steps):
        def _is_submission_finished(self) -> bool:
            return self.status != "running"

    worker = Curious({}, "s")
    worker.setup()
    worker.launch_submission()
    assert worker.status == "running"


def test_a_reader_in_another_thread_does_not_wait_for_a_hung_question() -> None:
    asked, answer = threading.Event(), threading.Event()

    class Hung(Steps):
        def _is_submission_finished(self) -> bool:
            asked.set()
            return answer.wait(30)

    worker = Hung({}, "s")
    worker.setup()
    worker.launch_submission()
    thread = threading.Thread(target=lambda: worker.status)
    thread.start()
    assert asked.wait(30)
    assert worker.status == "running"
    worker.teardown()
    answer.set()
    thread.join(30)
    assert worker.status == "killed", "a late answer does not undo a teardown"


def test_an_unknown_status_is_refused_with_the_nearest() -> None:
    worker = running()
    with pytest.raises(WorkerError, match="Did you mean 'collected'"):
        worker.status = "colected"


def test_the_error_of_an_answer_goes_to_the_reader() -> None:
    class Broken(Steps):
        def _is_submission_finished(self) -> bool:
            raise ConnectionError("gone")

    worker = Broken({}, "s")
    worker.setup()
    worker.launch_submission()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            _ = worker.status


@pytest.mark.parametrize("method", ["launch_submission", "collect_results"])
def test_the_order_of_the_methods_is_enforced(method: str) -> None:
    worker = Steps({}, "s")
    with pytest.raises(WorkerStateError) as caught:
        getattr(worker, method)()
    assert caught.value.method == method
    assert caught.value.status == "initialized"


def test_a_worker_is_set_up_once() -> None:
    with pytest.raises(WorkerStateError, match="setup"):
        running().setup()


def test_results_are_collected_once() -> None:
    worker = running()
    worker.is_finished = True
    worker.collect_results()
    with pytest.raises(WorkerStateError):
        worker.collect_results()


def test_its_config_is_its_own() -> None:
    config = {"key": 1}
    Steps(config, "s").config["key"] = 2
    assert config == {"key": 1}


def test_repr_shows_status_and_no_configuration() -> None:
    worker = running(secret_access_key="hidden")
    worker.is_finished = True
    assert repr(worker) == 'Steps(submission="submission_000000001", status="running")'


def test_a_wake_before_the_wait_is_not_lost() -> None:
    worker = running()
    worker.wake()
    worker.wait(30)


def test_a_worker_without_adoption_has_no_handle_and_says_so() -> None:
    worker = Steps({}, "s")
    assert worker.handle() is None
    with pytest.raises(WorkerError, match="cannot take over"):
        worker.attach("42")


def test_launch_enters_what_is_shared_and_leaves_it() -> None:
    entered: list[object] = []

    class Sharing(Steps):
        is_finished = True

        @classmethod
        @contextlib.contextmanager
        def open_shared(cls, config: Mapping[str, Any]) -> Iterator[str]:
            entered.append(config["key"])
            yield "client"
            entered.append("left")

        def setup(self) -> None:
            entered.append(self.shared)
            super().setup()

    worker = Sharing({"key": "value"}, "s")
    assert worker.launch() == (0, "")
    assert entered == ["value", "client", "left"]
    assert worker.status == "killed"


def test_launch_tears_down_when_a_step_fails() -> None:
    class Failing(Steps):
        def launch_submission(self) -> None:
            raise WorkerLostError("gone")

    worker = Failing({}, "s")
    with pytest.raises(WorkerLostError):
        worker.launch()
    assert worker.status == "killed"


def test_launch_tells_an_interruption() -> None:
    class Interrupted(Steps):
        is_interrupted = True

    with pytest.raises(WorkerLostError, match="Run it again"):
        Interrupted({}, "s").launch()


def test_launch_does_not_collect_from_a_run_that_nobody_has_ended() -> None:
    class Late(Steps):
        def collect_results(self) -> tuple[int, str]:
            raise AssertionError("it would wait for the end of the run")

    worker = Late({"timeout": 0}, "s")
    assert worker.launch() == (124, "time limit exceeded")
    assert worker.status == "killed"
