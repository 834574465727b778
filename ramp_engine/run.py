"""One claimed submission, from its files to its score, in a thread of its own.

A slow setup delays nobody else. Whatever happens in here ends as a verdict in the database, as a
claim given back, or, when the claim was lost meanwhile, as nothing at all.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ramp_database import submissions
from ramp_database.queue import Claim
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_engine import attempt
from ramp_engine.base import BaseWorker, Capability, WorkerStatus
from ramp_engine.config import EventConfig
from ramp_engine.errors import (
    ClaimLostError,
    DatabaseUnavailableError,
    PluginError,
    RampError,
    ResourceUnavailableError,
)
from ramp_engine.fold_process import remove_tree
from ramp_engine.outcome import Facts, Outcome, Stop, Verdict, judge, tellable
from ramp_engine.preparation import Bundle
from ramp_engine.recording import Recorder
from ramp_engine.scoring import PredictionFault, ScoreStep

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunContext:
    """What the runs of one dispatcher share."""

    database: Database
    event: EventConfig
    worker_class: type[BaseWorker]
    shared: Callable[[], object]  #: what the workers share, opened at first use
    python: Callable[[], Path]  #: the interpreter of the trusted steps
    bundle: Callable[[], Bundle]  #: the event's bundle of now, made when it is missing
    score: ScoreStep  #: what makes scores of predictions
    wake: Callable[[], None]  #: called when a run has ended


class Run:
    """Drive one worker for one claimed submission.

    Parameters
    ----------
    context : RunContext
    claim : Claim
        The token for every write.
    team, name : str
        Whose submission it is, and its name, for people.
    is_tested : bool
        Whether its predictions are published already and only the score step is left.
    """

    def __init__(
        self, context: RunContext, claim: Claim, *, team: str, name: str, is_tested: bool = False
    ) -> None:
        self.claim = claim
        self.team = team
        self.name = name
        self.started_at = time.monotonic()
        self.phase = "scoring" if is_tested else "setup"
        self.verdict: Verdict | None = None
        self.results: Results | None = None
        self._context = context
        self._is_tested = is_tested
        self._has_ended = False
        self._stop: Stop | None = None
        self._stopping = threading.Event()
        self._worker: BaseWorker | None = None
        self._bundle: Bundle | None = None  # the one that it was trained with is scored with
        event = context.event
        directory_name = submissions.directory_name(claim.submission_id)
        self._directory = attempt.attempt_directory(event.ramp.work_dir, directory_name, claim)
        self._recorder = Recorder(context.database, event, claim, self._directory, self._stopping)
        self._thread = threading.Thread(target=self._main, name=directory_name, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the run is still under way."""
        return self._thread.is_alive() and not self._has_ended

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the run, for so long."""
        self._thread.join(timeout_seconds)

    def stop(self, reason: Stop) -> None:
        """Ask the run to end early; the first reason counts."""
        if self._stop is None:
            self._stop = reason
            self._stopping.set()
            if self._worker is not None:
                self._worker.wake()

    def _main(self) -> None:
        try:
            self._evaluate_and_record()
        except ClaimLostError as error:
            logger.warning("%s", error, extra=self._recorder.extra)
            self.verdict = None
        except BaseException as error:  # the outermost level of the thread
            logger.exception("the run crashed", extra=self._recorder.extra)
            self._record_crash(f"{type(error).__name__}: {error}")
        finally:
            self._directory.remove()
            self._log_summary()
            self._has_ended = True  # before waking: whoever wakes shall see it
            self._context.wake()

    def _evaluate_and_record(self) -> None:
        verdict = self._evaluate()
        is_done = verdict.outcome is Outcome.SUCCEEDED and self._stop is Stop.SHUTDOWN
        if self._stop is not None and not is_done:
            verdict = judge(Facts(0, stop=self._stop))
        if self._stop is Stop.CLAIM_LOST:
            raise ClaimLostError(self.claim.submission_id, self.claim.attempt)
        self.verdict = verdict
        if verdict.outcome is Outcome.SUCCEEDED and self.results is not None:
            self._recorder.score(self.results)
        else:
            self._recorder.end(verdict, is_delayed=self._stop is None)

    def _evaluate(self) -> Verdict:
        if not self._is_tested:
            verdict = judge(self._work())
            if verdict.outcome is not Outcome.SUCCEEDED:
                return verdict
            assert self._bundle is not None  # noqa: S101  the run succeeded with it
            self._recorder.finish(self._bundle.name)
        return self._score()

    def _work(self) -> Facts:
        """Let the worker run the folds; everything that it raises becomes a fact."""
        try:
            self._bundle = self._recorder.patiently(self._context.bundle)
            worker = self._make_worker(self._bundle)
        except DatabaseUnavailableError:
            raise
        except RampError as error:
            return Facts(0, crash=str(error), stop=self._stop)
        facts: dict[str, Any] = {
            "n_folds": self._bundle.n_folds,
            "timeout_seconds": self._context.event.dispatcher.timeout,
        }
        try:
            facts |= self._drive(worker)
        except (ClaimLostError, DatabaseUnavailableError):
            raise
        except Exception as error:  # noqa: BLE001  around a plugin
            facts |= self._failure_of_worker(error)
        finally:
            self._tear_down(worker)
        folds = attempt.read_folds(self._directory.fold_predictions_dir)
        return Facts(**facts, stop=self._stop, folds=folds)

    def _make_worker(self, bundle: Bundle) -> BaseWorker:
        context = self._context
        shared = context.shared()
        self._write_files()
        config = context.event.worker_config() | self._directory.worker_keys()
        config |= {"bundle_dir": str(bundle.public), "n_folds": bundle.n_folds}
        worker = context.worker_class(config, self._directory.submission)
        worker.shared = shared
        self._worker = worker
        return worker

    def _write_files(self) -> None:
        """Write the participant's files for the attempt, and a copy for organisers to read."""
        files = self._recorder.patiently(self._read_files)
        self._directory.make()
        name = self._directory.submission
        submissions.write_files(files, self._directory.submissions_dir / name)
        kept = self._context.event.ramp.submissions_dir / name
        staged = kept.with_name(f".{self._directory.root.name}")
        remove_tree(staged)
        submissions.write_files(files, staged)
        attempt.publish(staged, kept)

    def _read_files(self) -> list[submissions.SubmissionFile]:
        with self._context.database.session(read_only=True) as session:
            return submissions.files(session, self.claim.submission_id)

    def _drive(self, worker: BaseWorker) -> dict[str, Any]:
        """Take the worker through its life, and give the facts about its end."""
        worker.setup()
        self._recorder.start()
        self.phase = "training"
        worker.launch_submission()
        while self._stop is None and worker.status == WorkerStatus.RUNNING:
            worker.wait(self._context.event.dispatcher.time_between_collection)
        status = worker.status
        if self._stop is not None or status == WorkerStatus.RETRY:
            worker.cancel()
            return {"worker_status": str(status)}
        self.phase = "collecting"
        return {"worker_status": str(status)} | self._collect(worker, status)

    def _collect(self, worker: BaseWorker, status: WorkerStatus) -> dict[str, Any]:
        is_late = status == WorkerStatus.TIMEOUT
        if is_late and Capability.TIME_LIMIT not in worker.capabilities:
            return {}  # it does not end its runs itself: collecting might wait for ever
        try:
            returncode, error_msg = worker.collect_results()
        except Exception:
            if not is_late:
                raise
            logger.info("nothing collected after the time limit", extra=self._recorder.extra)
            return {}
        if not isinstance(returncode, int) or not isinstance(error_msg, str | None):
            reason = "collect_results() must return a number and a text"
            raise PluginError(self._context.event.worker_type, reason)
        return {"returncode": returncode, "error_msg": error_msg or ""}

    def _failure_of_worker(self, error: Exception) -> dict[str, Any]:
        if isinstance(error, RampError):
            is_unavailable = isinstance(error, ResourceUnavailableError)
            return {"crash": str(error), "is_unavailable": is_unavailable}
        logger.error("the worker raised an error", exc_info=error, extra=self._recorder.extra)
        return {"crash": f"the worker raised {type(error).__name__}: {error}"}

    def _tear_down(self, worker: BaseWorker) -> None:
        try:
            worker.teardown()
        except Exception:
            logger.exception("teardown failed", extra=self._recorder.extra)

    def _score(self) -> Verdict:
        self.phase = "scoring"
        event = self._context.event
        log_path = submission_log(event, self.claim.submission_id, "score.log")
        predictions = self._recorder.predictions
        try:
            bundle = self._recorder.patiently(self._context.bundle)
            trained_with = attempt.made_with(predictions)
            if trained_with != bundle.name:
                return _not_scorable(trained_with)
            report = self._context.score(
                event,
                self._context.python(),
                bundle,
                predictions,
                self._directory.scored_dir,
                log_path,
                self._stopping,
            )
        except RampError as error:
            return Verdict(Outcome.CRASHED, None, tellable(str(error)))
        if isinstance(report, PredictionFault):
            return Verdict(Outcome.FAILED, report.state, tellable(report.message))
        self.results = report
        return Verdict(Outcome.SUCCEEDED, None)

    def _record_crash(self, reason: str) -> None:
        self.verdict = Verdict(Outcome.CRASHED, None, tellable(reason))
        try:
            self._recorder.end(self.verdict)
        except RampError:
            logger.exception("the crash could not be recorded", extra=self._recorder.extra)

    def _log_summary(self) -> None:
        outcome = str(self.verdict.outcome) if self.verdict else str(Stop.CLAIM_LOST)
        seconds = round(time.monotonic() - self.started_at, 3)
        facts = self._recorder.extra | {"outcome": outcome, "seconds": seconds}
        logger.info("attempt ended", extra=facts)


def _not_scorable(bundle: str | None) -> Verdict:
    """Tell why published predictions are not scored: they are made again instead."""
    if bundle is None:
        return Verdict(Outcome.CRASHED, None, "the published predictions are gone or changed")
    reason = "the event was deployed again after they were made"
    return Verdict(Outcome.INTERRUPTED, None, f"the predictions are out of date: {reason}")


def submission_log(event: EventConfig, submission_id: int, name: str = "log") -> Path:
    """Name a log of a submission: ``log``, and for organisers ``private.log``, ``score.log``."""
    return event.ramp.logs_dir / submissions.directory_name(submission_id) / name
