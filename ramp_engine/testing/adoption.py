"""The part of the suite for workers whose runs outlive their dispatcher; see `conformance`."""
# ruff: noqa: S101  a test suite, run by pytest

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from ramp_engine.base import BaseWorker, Capability
from ramp_engine.errors import WorkerError
from ramp_engine.testing.scenarios import Scenario
from ramp_engine.testing.worker_lives import (
    MakeWorker,
    assert_success,
    await_end,
    collected_from,
    refusing,
)

__all__ = ["AdoptionConformance"]

_GONE = "WorkerLostError says that the run is gone, and the submission is evaluated again"


class AdoptionConformance:
    """What a worker holds that is to go on with the run of another."""

    #: What the worker can do; tests of what it cannot are left out.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()

    def test_a_worker_that_cannot_adopt_has_no_handle_and_refuses_one(
        self, make: MakeWorker
    ) -> None:
        """What dies with its dispatcher must not be waited for by another."""
        if Capability.ADOPT in self.capabilities:
            pytest.skip("the worker declares Capability.ADOPT")
        worker = make(Scenario.GOOD)
        worker.setup()
        handle = worker.handle()
        assert handle is None, (
            f"handle() gives {handle!r}: declare Capability.ADOPT, and implement attach() as well"
        )
        with refusing("attach()", error=WorkerError, hint="leave it to the base class"):
            make(Scenario.GOOD, submission="submission_000000002").attach("42")

    def test_a_run_is_adopted_by_its_handle(self, make: MakeWorker) -> None:
        """Another worker object goes on where the first, dead by now, was."""
        second, _ = self._adopting(make, Scenario.GOOD)
        await_end(second)
        assert_success(second, collected_from(second))
        second.teardown()

    def test_an_adopted_run_can_be_canceled(self, make: MakeWorker) -> None:
        """Afterwards there is nothing to adopt any more."""
        second, handle = self._adopting(make, Scenario.HANGING)
        assert second.status == "running", "attach() must end with super().attach(handle)"
        with refusing("attach() of a worker that has a run already"):
            second.attach(handle)
        second.cancel()
        second.teardown()
        with refusing("attach() to a run that was canceled", error=WorkerError, hint=_GONE):
            self._another(second).attach(handle)

    def test_the_time_limit_of_an_adopted_run_counts_from_its_start(self, make: MakeWorker) -> None:
        """``elapsed_seconds`` tells how long it has run."""
        second, _ = self._adopting(make, Scenario.HANGING, elapsed_seconds=3600.0)
        status = second.status
        assert status == "timeout", (
            f"the run has taken an hour of its minute, and the status is {status!r}: the time "
            "limit of an adopted run counts from config['elapsed_seconds'] ago"
        )
        second.teardown()

    def test_a_worker_that_let_go_of_a_run_ends_nothing_of_it(self, make: MakeWorker) -> None:
        """A dispatcher that was paused comes back; its run belongs to another by then."""
        self._needs(Capability.ADOPT)
        first = make(Scenario.GOOD)
        handle = _launched_handle(first)
        second = self._another(first)
        second.attach(handle)
        first.detach()
        first.teardown()
        third = self._another(first)
        third.attach(handle)
        await_end(third)
        assert_success(third, collected_from(third))
        third.teardown()

    def test_a_run_that_is_gone_cannot_be_adopted(self, make: MakeWorker) -> None:
        """The error says so; the submission is then evaluated again."""
        self._needs(Capability.ADOPT)
        first = make(Scenario.GOOD)
        handle = _launched_handle(first)
        first.cancel()
        first.teardown()
        with refusing("attach() to a run that is gone", error=WorkerError, hint=_GONE):
            self._another(first).attach(handle)

    def _adopting(
        self, make: MakeWorker, scenario: Scenario, elapsed_seconds: float = 0.0
    ) -> tuple[BaseWorker, str]:
        """Have a worker take over the run of one whose dispatcher is dead; give the handle, too."""
        self._needs(Capability.ADOPT)
        first = make(scenario)
        handle = _launched_handle(first)
        second = self._another(first, elapsed_seconds)
        second.attach(handle)
        first.detach()
        return second, handle

    def _another(self, worker: BaseWorker, elapsed_seconds: float = 0.0) -> BaseWorker:
        """Make the worker of another dispatcher, with directories of its own."""
        config = worker.config | {"elapsed_seconds": elapsed_seconds}
        for key in ("predictions_dir", "logs_dir"):
            config[key] = str(Path(config[key]).with_name(f"adopted_{key}"))
            Path(config[key]).mkdir(exist_ok=True)
        another = type(worker)(config, worker.submission)
        another.shared = worker.shared
        return another

    def _needs(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            pytest.skip(f"the worker does not declare Capability.{capability.name}")


def _launched_handle(worker: BaseWorker) -> str:
    """Start a run, and give its handle, which is asked for before."""
    worker.setup()
    handle = worker.handle()
    assert isinstance(handle, str), (
        f"handle() gives {handle!r} after setup(): it must name the run before it is launched"
    )
    worker.launch_submission()
    return handle
