"""The part of the suite for what may happen to the place where a worker runs; see `conformance`."""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest

from ramp_engine.base import BaseWorker, Capability, WorkerStatus
from ramp_engine.errors import WorkerError
from ramp_engine.testing.bounds import returning_within
from ramp_engine.testing.scenarios import Scenario
from ramp_engine.testing.worker_lives import (
    MakeWorker,
    alone,
    assert_success,
    await_end,
    collected_from,
    run_until_ended,
    running,
)

__all__ = ["Cut", "LossConformance"]

#: Takes away the place where a worker runs, or the way to it.
Cut = Callable[[BaseWorker], None]


class LossConformance:
    """What a worker holds when its submission hangs, or the place where it runs is lost."""

    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    patience_seconds: ClassVar[float] = 60.0

    @pytest.fixture
    def cut(self) -> Cut | None:
        """Give what cuts a worker off; None: there is nothing between it and its runs."""
        return None

    def test_a_lost_connection_is_told_in_time_and_blames_nobody(
        self, make: MakeWorker, cut: Cut | None
    ) -> None:
        """Neither a success without results nor a failure of the participant comes of it."""
        if cut is None:
            pytest.skip("nothing can be cut: the fixture `cut` gives None")
        done = make(Scenario.GOOD)
        assert run_until_ended(done) == "finished"
        worker = running(make, timeout=3600.0, submission="submission_000000002")
        for one in (worker, done):
            cut(one)
        told = self._told(worker)
        assert told is None, (
            f"the place where the submission ran is gone, and {told} is told. Have "
            "_is_submission_interrupted() say so, or collect_results() raise WorkerLostError"
        )
        told = self._told(done)
        if told is not None:
            assert_success(done, told)
        for one in (worker, done):
            with returning_within(self.patience_seconds, "teardown() after a lost connection"):
                one.teardown()
                one.teardown()
            assert one.status == "killed", "teardown() must end with super().teardown()"

    def _told(self, worker: BaseWorker) -> tuple[int, str] | None:
        """Give what a worker says of a lost run; None when it says that it is to be repeated."""
        final: WorkerError | None = None
        try:
            with returning_within(2 * self.patience_seconds, "a worker that was cut off"):
                status = await_end(worker, self.patience_seconds)
                return None if status is WorkerStatus.RETRY else collected_from(worker)
        except WorkerError as error:
            final = None if error.is_retryable else error
        assert final is None, (
            f"the place where the submission ran is gone, and the worker raises {final!r}, which "
            "says that trying again never helps: raise WorkerLostError"
        )
        return None

    def test_an_interruption_asks_for_another_attempt_which_goes_well(
        self, make: MakeWorker
    ) -> None:
        """The status becomes ``retry``; nothing of the first attempt is in the way of the next."""
        if Capability.INTERRUPT not in self.capabilities:
            pytest.skip("the worker does not declare Capability.INTERRUPT")
        first = make(Scenario.INTERRUPTED)
        status = run_until_ended(first)
        assert status == "retry", (
            f"the machine was taken away and the status is {status!r}: "
            "_is_submission_interrupted() must return True"
        )
        assert isinstance(first.interruption, str), "interruption must be a text"
        first.cancel()
        first.teardown()
        second = make(Scenario.GOOD, submission="submission_000000002")
        assert_success(second, alone(second))

    @pytest.mark.parametrize("method", ["status", "cancel", "teardown", "detach"])
    def test_no_call_hangs_on_a_submission_that_hangs(self, make: MakeWorker, method: str) -> None:
        """A submission that ignores signals and forks costs time of its own, not its worker's."""
        worker = running(make)
        with returning_within(self.patience_seconds, f"{method}, while the submission hangs,"):
            attribute = getattr(worker, method)
            if callable(attribute):
                attribute()

    def test_the_end_of_a_worker_leaves_another_one_alone(self, make: MakeWorker) -> None:
        """Several run at once, and share nothing but what `open_shared` gave."""
        other = running(make)
        worker = make(Scenario.GOOD, submission="submission_000000002")
        assert_success(worker, alone(worker))
        status = other.status
        assert status == "running", (
            f"the other worker's status is {status!r} after the end of this one: what belongs to a "
            "run must carry its name, and be kept in the worker, not in its class or module"
        )

    def test_reaping_ends_nothing_that_somebody_answers_for(self, make: MakeWorker) -> None:
        """Called by several at once, it is sure of what it ends."""
        worker = running(make)
        kind = type(worker)
        if not kind.reaps:
            pytest.skip("the worker's class does not reap")
        for _ in range(2):
            kind.reap(worker.config, worker.shared, lambda *_: True)
        status = worker.status
        assert status == "running", (
            f"reap() ended a run though is_live() was True: its status is {status!r}"
        )
