"""The contract of a worker, as a suite: what every worker holds, whatever it runs on.

A plugin's test is a subclass with one fixture, and needs pytest and ramp-workflow
(``pip install 'ramp-engine[testing]'``)::

    import pytest
    from ramp_engine.testing.conformance import WorkerConformance

    pytest_plugins = ["ramp_engine.testing.fixtures"]

    class TestMyWorker(WorkerConformance):
        capabilities = MyWorker.capabilities

        @pytest.fixture
        def make_worker(self, toy_event, tmp_path):
            def make(scenario, *, timeout=60.0, submission="submission_000000001"):
                config = toy_event.config(tmp_path, submission, scenario, timeout=timeout)
                return MyWorker(config, submission)
            return make

The fixture ``toy_event`` is a `ramp_engine.testing.ToyEvent`, whose submissions play the scenarios.
What a subclass may give besides:

* ``cut``, a fixture: a function that takes away the place where a worker runs, or the way to it.
  Called with each of two workers, and harmless when there is nothing left to cut.
* ``machines``, a fixture: the process ids of what stands for other machines in the test.
* ``own_folders``, a fixture: folders that the worker may write to beside those of its config.
* ``patience_seconds``: how long a call may take because of its submission.

`Capability.ADOPT`, ``INTERRUPT``, ``TIME_LIMIT`` and ``FOLDS`` each bring tests, left out for a
worker that does not declare them. ``doc/howto/test-a-worker.md`` tells what each test holds.
"""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ramp_engine.base import TIMEOUT_RETURNCODE, BaseWorker, Capability, WorkerStatus
from ramp_engine.evaluation.supervise import descendants
from ramp_engine.testing.adoption import AdoptionConformance
from ramp_engine.testing.auditing import audited
from ramp_engine.testing.bounds import returning_within
from ramp_engine.testing.losses import Cut, LossConformance
from ramp_engine.testing.outputs import OutputConformance
from ramp_engine.testing.scenarios import Scenario
from ramp_engine.testing.worker_lives import (
    STATUSES,
    MakeWorker,
    alone,
    assert_success,
    await_end,
    collected_from,
    log_of,
    refusing,
    run_until_ended,
    running,
)

__all__ = ["Cut", "MakeWorker", "WorkerConformance", "run_until_ended"]


#: What has been ended, or ends by itself, is gone after so many seconds.
ENDING_SECONDS = 3.0


class WorkerConformance(OutputConformance, LossConformance, AdoptionConformance):
    """Subclass it, name it ``Test...``, and give the fixture `make_worker`."""

    #: What the worker can do; tests of what it cannot are left out.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    #: No call of a worker takes longer than that because of its submission; in seconds.
    patience_seconds: ClassVar[float] = 60.0

    @pytest.fixture
    def make_worker(self) -> MakeWorker:
        """Give the factory; every subclass has its own."""
        raise NotImplementedError("a subclass of WorkerConformance gives the fixture make_worker")

    @pytest.fixture
    def machines(self) -> Collection[int]:
        """Name processes that stand for other machines: they and what they start are not ours.

        Read after the test, so that one that is started again can be added meanwhile.
        """
        return ()

    @pytest.fixture(autouse=True)
    def bounded(self) -> Iterator[None]:
        """End a test in which a call hangs that should not; the traceback shows which."""
        with returning_within(5 * self.patience_seconds, "a call of the worker"):
            yield

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
            with returning_within(self.patience_seconds, "teardown()"):
                worker.teardown()
        deadline = time.monotonic() + ENDING_SECONDS
        while (left := _left(before, machines)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left, f"teardown() must end all processes of the run; left: {_named(left)}"

    def test_its_capabilities_are_declared_as_they_are(self, make: MakeWorker) -> None:
        """Else tests would be left out, or hold what nobody promised."""
        own = make(Scenario.GOOD).capabilities
        assert own == self.capabilities, (
            f"the worker's capabilities are {sorted(own)}, those of the test "
            f"{sorted(self.capabilities)}: write `capabilities = MyWorker.capabilities` there"
        )

    def test_a_good_run_gives_predictions_and_log(self, make: MakeWorker) -> None:
        """The status goes its way, and what was asked for is there."""
        worker = make(Scenario.GOOD)
        _expect(worker, "initialized", "__init__() sets no status")
        worker.setup()
        _expect(worker, "setup", "setup() ends with super().setup()")
        worker.launch_submission()
        _expect(worker, "running", "launch_submission() ends with super().launch_submission()")
        await_end(worker)
        _expect(worker, "finished", "_is_submission_finished() is True after the end of a run")
        assert_success(worker, collected_from(worker))
        _expect(worker, "collected", "collect_results() ends with self.status = 'collected'")
        worker.teardown()
        _expect(worker, "killed", "teardown() ends with super().teardown()")

    def test_it_runs_alone(self, make: MakeWorker) -> None:
        """``launch()`` does everything and tears down."""
        worker = make(Scenario.GOOD)
        assert_success(worker, alone(worker))
        _expect(worker, "killed", "teardown() ends with super().teardown()")

    def test_the_time_limit_ends_a_run(self, make: MakeWorker) -> None:
        """The status becomes ``timeout``; a worker that ends the run itself has kept the log."""
        worker = make(Scenario.HANGING, timeout=0.5)
        worker.setup()
        worker.launch_submission()
        await_end(worker, self.patience_seconds)
        _expect(worker, "timeout", "check_timeout() is True once config['timeout'] has passed")
        if Capability.TIME_LIMIT in self.capabilities:
            code, _ = collected_from(worker)
            assert code == TIMEOUT_RETURNCODE, (
                f"collect_results() gives {code} after the time limit, TIMEOUT_RETURNCODE is due"
            )
            assert log_of(worker).is_file(), "collect_results() loses the log at the time limit"

    def test_cancel_ends_a_run(self, make: MakeWorker) -> None:
        """Nothing of it is left, and nothing can be collected."""
        worker = running(make)
        with returning_within(self.patience_seconds, "cancel()"):
            worker.cancel()
        _expect(worker, "killed", "cancel() ends with super().cancel()")
        with refusing("collect_results() after cancel()", "the worker is 'killed'"):
            worker.collect_results()

    @pytest.mark.parametrize("status", list(STATUSES))
    def test_teardown_is_safe_from_any_status_and_twice(
        self, make: MakeWorker, status: WorkerStatus
    ) -> None:
        """It releases everything, at once."""
        worker = STATUSES[status](make)
        assert worker.last_status == status, f"the worker should be {status!r}: {worker!r}"
        worker.teardown()
        worker.teardown()
        _expect(worker, "killed", "teardown() ends with super().teardown()")

    def test_a_worker_cannot_be_set_up_twice(self, make: MakeWorker) -> None:
        """One worker runs one submission once."""
        worker = STATUSES[WorkerStatus.SETUP](make)
        with refusing("a second setup()"):
            worker.setup()

    def test_a_submission_cannot_be_launched_without_setup(self, make: MakeWorker) -> None:
        """The order is setup, launch, collect."""
        worker = make(Scenario.GOOD)
        with refusing("launch_submission() before setup()", hint=_ORDER):
            worker.launch_submission()

    def test_a_submission_cannot_be_launched_twice(self, make: MakeWorker) -> None:
        """And the run that there is goes on."""
        worker = running(make)
        with refusing("a second launch_submission()", hint=_ORDER):
            worker.launch_submission()
        assert worker.last_status == "running", f"the run should go on: {worker!r}"

    @pytest.mark.parametrize("status", ["initialized", "setup", "running", "collected"])
    def test_results_are_collected_once_and_not_too_early(
        self, make: MakeWorker, status: str
    ) -> None:
        """The error says which status the worker has."""
        worker = STATUSES[WorkerStatus(status)](make)
        hint = "collect_results() begins with super().collect_results()"
        what = f"collect_results() of a worker that is {status!r}"
        with refusing(what, f"the worker is '{status}'", hint=hint):
            worker.collect_results()

    def test_repr_does_no_io_and_tells_no_secret(self, make: MakeWorker) -> None:
        """It names the class, the submission and the last known status."""
        worker = running(make)
        worker.config["some_key"] = "hidden-words"
        with audited() as events:
            text = repr(worker)
        assert events == [], f"repr() is for logs and must ask nobody, it did: {events}"
        expected = (type(worker).__name__, worker.submission, 'status="running"')
        assert all(word in text for word in expected), f"{text} should name {expected}"
        assert "hidden-words" not in text, f"repr() shows the config, which holds secrets: {text}"

    def test_a_wait_ends_when_it_is_woken(self, make: MakeWorker) -> None:
        """Another thread can make the driver look up, for a cancel."""
        worker = running(make)
        threading.Timer(0.01, worker.wake).start()
        with returning_within(self.patience_seconds, "wait(), though wake() was called,"):
            worker.wait(4 * self.patience_seconds)
        assert worker.status == "running", f"the run should go on: {worker!r}"


_ORDER = "launch_submission() ends with super().launch_submission(), which sees to that"


def _expect(worker: BaseWorker, status: str, due: str) -> None:
    assert worker.last_status == status, (
        f"the status is {worker.last_status.value!r} and should be {status!r}. Does it hold that "
        f"{due}?"
    )


def _left(before: Collection[int], machines: Collection[int]) -> set[int]:
    left = set(descendants(os.getpid())).difference(before)
    left -= {pid for machine in machines for pid in (machine, *descendants(machine))}
    # One of a machine's own may have ended between the two looks.
    return left & set(descendants(os.getpid()))


def _named(pids: Collection[int]) -> str:
    """Name processes by their commands, which those have no more that nobody has waited for."""
    commands = {}
    for pid in pids:
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:
            words = b""
        command = words.decode(errors="replace").strip()[:200]
        commands[pid] = command or "ended, and never waited for"
    return ", ".join(f"{pid} ({command})" for pid, command in sorted(commands.items()))
