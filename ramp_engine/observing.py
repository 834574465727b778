"""Who watches the runs of a dispatcher."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from ramp_database import submissions
from ramp_engine.config import EventConfig
from ramp_engine.hook_calls import HookCalls
from ramp_engine.hooks import Failure, Launch, Scores
from ramp_engine.outcome import Outcome
from ramp_engine.run import Run

__all__ = ["Everybody", "HookTeller", "Observer", "Quiet"]

#: Of these hooks are told nothing: nobody's code and nobody's platform failed.
_NO_FAILURES = (Outcome.SUCCEEDED, Outcome.INTERRUPTED, Outcome.CANCELED)


class Observer(Protocol):
    """Somebody who watches the runs, such as a progress display."""

    def run_started(self, run: Run) -> None:
        """Tell that a submission was claimed."""

    def run_ended(self, run: Run) -> None:
        """Tell that a run has ended; ``run.verdict`` says how."""


class Quiet:
    """The observer that does nothing."""

    def run_started(self, run: Run) -> None:
        """Do nothing."""

    def run_ended(self, run: Run) -> None:
        """Do nothing."""


class Everybody:
    """Several observers, told one after another."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def run_started(self, run: Run) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.run_started(run)

    def run_ended(self, run: Run) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.run_ended(run)


class HookTeller:
    """Tell the hooks of an event what becomes of its submissions, once the database knows."""

    def __init__(self, event: EventConfig, calls: HookCalls) -> None:
        self._event = event
        self._calls = calls

    def run_started(self, run: Run) -> None:
        """Tell of an attempt that begins."""
        if run.begins:
            launch = Launch(**self._facts(run), worker_type=self._event.worker_type)
            self._calls.tell("before_launch", launch)

    def run_ended(self, run: Run) -> None:
        """Tell of scores, or of a failure."""
        verdict, results = run.verdict, run.results
        if verdict is None or not run.is_recorded:  # it is another dispatcher's by now
            return
        facts = self._facts(run) | {"seconds": round(time.monotonic() - run.started_at, 3)}
        if verdict.outcome is Outcome.SUCCEEDED and results is not None:
            scores = {name: bagged.valid for name, bagged in results.bagged.items()}
            self._calls.tell("after_scoring", Scores(**facts, scores=scores))
        elif verdict.outcome not in _NO_FAILURES:
            facts |= {"outcome": verdict.outcome, "reason": verdict.error or ""}
            self._calls.tell("on_failure", Failure(**facts, is_final=run.is_final))

    def _facts(self, run: Run) -> dict[str, Any]:
        ramp = self._event.ramp
        return {
            "event": ramp.event_name,
            "problem": ramp.problem_name,
            "submission_id": run.claim.submission_id,
            "team": run.team,
            "name": run.name,
            "attempt": run.claim.attempt,
            "at": datetime.now(UTC),
            "logs_dir": ramp.logs_dir / submissions.directory_name(run.claim.submission_id),
        }
