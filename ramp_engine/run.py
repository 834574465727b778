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

from ramp_database import queue, submissions
from ramp_database.queue import Claim
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_engine import attempt
from ramp_engine.base import BaseWorker, WorkerStatus
from ramp_engine.config import EventConfig
from ramp_engine.errors import (
    ClaimLostError,
    DatabaseUnavailableError,
    RampError,
    ResourceUnavailableError,
)
from ramp_engine.outcome import Facts, Outcome, Stop, Verdict, judge
from ramp_engine.preparation import Bundle
from ramp_engine.scoring import PredictionFault, score_predictions

logger = logging.getLogger(__name__)

#: Wait between two tries to write to a database that cannot be reached, in seconds.
DATABASE_RETRY_SECONDS = 2.0


@dataclass(frozen=True)
class RunContext:
    """What the runs of one dispatcher share."""

    database: Database
    event: EventConfig
    n_folds: int
    worker_class: type[BaseWorker]
    shared: Callable[[], object]  #: what the workers share, opened at first use
    bundle: Callable[[], Bundle]  #: the event's bundle, made when it is missing
    wake: threading.Event  #: set when a run has ended


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
        self._stop: Stop | None = None
        self._worker: BaseWorker | None = None
        directory = submissions.directory_name(claim.submission_id)
        self._directory = attempt.attempt_directory(
            context.event.ramp.work_dir, directory, claim.attempt
        )
        self._thread = threading.Thread(target=self._main, name=directory, daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the run is still under way."""
        return self._thread.is_alive()

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
            if self._worker is not None:
                self._worker.wake()

    @property
    def _extra(self) -> dict[str, object]:
        return {
            "event": self._context.event.ramp.event_name,
            "submission": self.claim.submission_id,
            "attempt": self.claim.attempt,
            "dispatcher": self.claim.dispatcher_id,
        }

    def _main(self) -> None:
        try:
            self.verdict = self._evaluate()
            self._record(self.verdict)
        except ClaimLostError as error:
            logger.warning("claim lost, nothing recorded", extra=self._extra | {"why": str(error)})
        except Exception as error:
            logger.exception("the run crashed", extra=self._extra)
            self._record_crash(error)
        finally:
            self._directory.remove()
            self._log_summary()
            self._context.wake.set()

    def _evaluate(self) -> Verdict:
        if not self._is_tested:
            verdict = judge(self._work())
            if verdict.outcome is not Outcome.SUCCEEDED:
                return verdict
            self._publish_predictions()
        return self._score()

    def _work(self) -> Facts:
        """Let the worker run the folds; everything that it raises becomes a fact."""
        context = self._context
        facts: dict[str, Any] = {"n_folds": context.n_folds}
        try:
            worker = self._make_worker()
        except RampError as error:
            return Facts(**facts, crash=str(error), stop=self._stop)
        facts["timeout_seconds"] = context.event.dispatcher.timeout
        try:
            facts |= self._drive(worker)
        except (ClaimLostError, DatabaseUnavailableError):
            raise
        except Exception as error:  # noqa: BLE001  around a plugin
            facts |= self._worker_failure(error)
        finally:
            self._tear_down(worker)
        folds = attempt.read_folds(self._directory.fold_predictions_dir)
        return Facts(**facts, stop=self._stop, folds=folds)

    def _make_worker(self) -> BaseWorker:
        context = self._context
        bundle = context.bundle()
        shared = context.shared()
        self._write_files()
        config = context.event.worker_config() | self._directory.worker_keys()
        config |= {"bundle_dir": str(bundle.public), "n_folds": context.n_folds}
        worker = context.worker_class(config, self._directory.submission)
        worker.shared = shared
        self._worker = worker
        return worker

    def _write_files(self) -> None:
        with self._context.database.session(read_only=True) as session:
            files = submissions.files(session, self.claim.submission_id)
        self._directory.make()
        name = self._directory.submission
        submissions.write_files(files, self._directory.submissions_dir / name)
        kept = self._context.event.ramp.submissions_dir / name
        if not kept.exists():
            staged = kept.with_name(f".{name}-{self.claim.attempt}")
            submissions.write_files(files, staged)
            attempt.publish(staged, kept)

    def _drive(self, worker: BaseWorker) -> dict[str, Any]:
        """Take the worker through its life, and give the facts about its end."""
        worker.setup()
        self._transact(lambda session: queue.start(session, self.claim))
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
        try:
            returncode, error_msg = worker.collect_results()
        except Exception:
            if status != WorkerStatus.TIMEOUT:
                raise
            logger.info("nothing collected after the time limit", extra=self._extra)
            return {}
        return {"returncode": returncode, "error_msg": error_msg or ""}

    def _worker_failure(self, error: Exception) -> dict[str, Any]:
        if not isinstance(error, RampError):
            logger.error("the worker raised an error", exc_info=error, extra=self._extra)
            return {"crash": f"the worker raised {type(error).__name__}: {error}"}
        return {"crash": str(error), "is_unavailable": isinstance(error, ResourceUnavailableError)}

    def _tear_down(self, worker: BaseWorker) -> None:
        try:
            worker.teardown()
        except Exception:
            logger.exception("teardown failed", extra=self._extra)

    def _publish_predictions(self) -> None:
        """Publish the predictions in the transaction that records that they are there."""
        directory = self._directory
        predictions_dir = self._context.event.ramp.predictions_dir
        staged = attempt.stage_predictions(
            directory.fold_predictions_dir, predictions_dir, directory.root.name
        )

        def finish(session: Any) -> None:
            queue.finish(session, self.claim)
            attempt.publish(staged, predictions_dir / directory.submission)

        self._transact(finish)
        self._publish_logs()

    def _score(self) -> Verdict:
        self.phase = "scoring"
        directory = self._directory
        predictions = self._context.event.ramp.predictions_dir / directory.submission
        try:
            bundle = self._context.bundle()
            report = score_predictions(
                self._context.event,
                bundle,
                predictions,
                directory.scored_dir,
                submission_log(self._context.event, self.claim.submission_id, "score.log"),
            )
        except RampError as error:
            return Verdict(Outcome.CRASHED, None, str(error))
        if isinstance(report, PredictionFault):
            return Verdict(Outcome.FAILED, report.state, report.message)
        self.results = report
        return Verdict(Outcome.SUCCEEDED, None)

    def _record(self, verdict: Verdict) -> None:
        """Write the verdict; the queue's guard refuses it when the claim is lost."""
        self._publish_logs()
        claim, error = self.claim, verdict.error or ""
        if verdict.outcome is Outcome.SUCCEEDED:
            self._record_score()
        elif verdict.outcome is Outcome.CRASHED:
            n = self._context.event.dispatcher.max_attempts
            self._transact(lambda session: queue.crash(session, claim, error, n))
        elif verdict.outcome is Outcome.INTERRUPTED:
            if self._stop is not Stop.CLAIM_LOST:
                self._transact(lambda session: queue.release(session, claim, error))
        elif verdict.outcome is Outcome.CANCELED:
            self._transact(lambda session: queue.acknowledge_cancel(session, claim))
        else:
            state = verdict.state
            assert state is not None  # noqa: S101  judge gives one to each of these
            outcome = str(verdict.outcome)
            self._transact(lambda session: queue.fail(session, claim, state, error, outcome))

    def _record_score(self) -> None:
        results = self.results
        assert results is not None  # noqa: S101  the score step succeeded
        directory = self._directory
        target = self._context.event.ramp.predictions_dir / directory.submission
        staged = attempt.move_across(
            directory.scored_dir, target.with_name(f".{directory.root.name}.scored")
        )

        def score(session: Any) -> None:
            queue.score(session, self.claim, results)
            attempt.publish(staged, target)

        self._transact(score)

    def _record_crash(self, error: Exception) -> None:
        reason = f"{type(error).__name__}: {error}"
        self.verdict = Verdict(Outcome.CRASHED, None, reason)
        try:
            self._record(self.verdict)
        except RampError:
            logger.exception("the crash could not be recorded", extra=self._extra)

    def _publish_logs(self) -> None:
        directory = self._directory
        attempt.publish_logs(
            directory.logs_dir, self._context.event.ramp.logs_dir, directory.submission
        )

    def _transact(self, work: Callable[[Any], object]) -> None:
        """Do `work` in one transaction, again for as long as the database is away.

        A dispatcher that is told to go down gives up: another will rescue the submission.
        """
        while True:
            try:
                with self._context.database.session() as session:
                    work(session)
                    return
            except DatabaseUnavailableError:
                if self._stop is not None:
                    raise
                logger.warning("the database is away, will try again", extra=self._extra)
                time.sleep(DATABASE_RETRY_SECONDS)

    def _log_summary(self) -> None:
        verdict = self.verdict
        logger.info(
            "attempt ended",
            extra=self._extra
            | {
                "outcome": str(verdict.outcome) if verdict else "claim_lost",
                "seconds": round(time.monotonic() - self.started_at, 3),
            },
        )


def submission_log(event: EventConfig, submission_id: int, name: str = "log") -> Path:
    """Name a log of a submission: ``log``, and for organisers ``private.log``, ``score.log``."""
    return event.ramp.logs_dir / submissions.directory_name(submission_id) / name
