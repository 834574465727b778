"""One claimed submission, from its files to its score, in a thread of its own.

A slow setup delays nobody else. Whatever happens in here ends as a verdict in the database, as a
claim given back, or, when the claim was lost meanwhile, as nothing at all.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ramp_engine
from ramp_database import submissions
from ramp_database.provenance import Provenance
from ramp_database.queue import Adopted, Claim
from ramp_database.results import Results
from ramp_engine import attempt
from ramp_engine.base import BaseWorker
from ramp_engine.calls import Calls, GivenUp
from ramp_engine.config import EventConfig
from ramp_engine.driving import Driver, StopRequest
from ramp_engine.errors import (
    ClaimLostError,
    DatabaseUnavailableError,
    RampError,
    ResourceUnavailableError,
)
from ramp_engine.failure_card import Subject, with_card
from ramp_engine.fold_process import remove_tree
from ramp_engine.outcome import Facts, Outcome, Stop, Verdict, judge, not_scorable, tellable
from ramp_engine.preparation import Bundle
from ramp_engine.progress import Progress
from ramp_engine.recording import Recorder
from ramp_engine.room import find_full
from ramp_engine.run_context import HungCall, RunContext
from ramp_engine.scoring import PredictionFault

logger = logging.getLogger(__name__)

#: How long a call of a worker may last after its run was asked to end, in seconds.
STOP_PATIENCE_SECONDS = 30.0


class Run:
    """See one claimed submission through.

    Parameters
    ----------
    context : RunContext
    claim : Claim
        The token for every write.
    team, name : str
        Whose submission it is, and its name, for people.
    is_tested : bool
        Whether its predictions are published already and only the score step is left.
    adopted : Adopted, optional
        The run of a dead dispatcher that this one takes over.
    """

    def __init__(
        self,
        context: RunContext,
        claim: Claim,
        *,
        team: str,
        name: str,
        is_tested: bool = False,
        adopted: Adopted | None = None,
    ) -> None:
        self.claim = claim
        self.team = team
        self.name = name
        self.started_at = time.monotonic()
        self.phase = "scoring" if is_tested else "setup"
        self.verdict: Verdict | None = None
        self.results: Results | None = None
        self.begins = adopted is None and not is_tested  # here, and not with another dispatcher
        self.is_recorded = False  # the verdict is in the database
        self.is_final = False  # the submission has come to its end, not this attempt only
        self._context = context
        self._is_tested = is_tested
        self._has_ended = False
        self._adopted = adopted
        self._calls = Calls()
        self._request = StopRequest()
        self._driver: Driver | None = None
        self._is_prediction_fault = False
        self._worker: BaseWorker | None = None
        self._paths: tuple[str, ...] = ()
        self._bundle: Bundle | None = None  # the one that it was trained with is scored with
        event = context.event
        directory_name = submissions.directory_name(claim.submission_id)
        self._directory = attempt.attempt_directory(event.ramp.work_dir, directory_name, claim)
        self._recorder = Recorder(
            context.database, event, claim, self._directory, self._request.made
        )
        self._progress = Progress(
            event, self._directory, claim, self._recorder, context.score, context.python
        )
        self._thread = threading.Thread(
            target=self._main,
            args=(self._evaluate_and_record,),
            name=directory_name,
            daemon=True,
        )

    @property
    def is_alive(self) -> bool:
        """Whether the run is still under way."""
        return self._thread.is_alive() and not self._has_ended

    @property
    def holds_slot(self) -> bool:
        """Whether its worker is still needed: not while the predictions are scored."""
        return self.phase != "scoring"

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout_seconds: float) -> None:
        """Wait for the end of the run, for so long."""
        self._thread.join(timeout_seconds)

    def stop(self, reason: Stop) -> None:
        """Ask the run to end early; the first reason counts."""
        self._request.make(reason)
        if self._worker is not None:
            self._worker.wake()

    @property
    def hung_at(self) -> float:
        """When the call of the worker that is under way counts as hung, in monotonic seconds."""
        call = self._calls.current
        if call is None:
            return math.inf
        hung_at = call.started_at + self._context.event.dispatcher.hung_after_seconds
        if self._request.at is None:
            return hung_at
        return min(hung_at, max(call.started_at, self._request.at) + STOP_PATIENCE_SECONDS)

    def give_up(self) -> HungCall | None:
        """Leave the call of the worker that is under way to its thread, and record the attempt.

        Whatever the call brings, now or later, is refused.

        Returns
        -------
        HungCall or None
            None when no call is under way any more: the run goes on.
        """
        call = self._calls.current
        if call is None or not self._calls.give_up(call):
            return None
        left = self._thread
        seconds = time.monotonic() - call.started_at
        crash = f"the worker's {call.name}() has not returned after {seconds:.1f} s and is given up"
        logger.error("%s", crash, extra=self._recorder.extra)
        verdict = judge(Facts(0, crash=crash, stop=self._request.reason))
        self._thread = threading.Thread(
            target=self._main,
            args=(lambda: self._record(verdict),),
            name=f"{left.name}-given-up",
            daemon=True,
        )
        self._thread.start()
        return HungCall(left, call)

    def _main(self, work: Callable[[], None]) -> None:
        try:
            self._do(work)
        except GivenUp:  # another thread has ended the run already
            self._directory.remove()
            return
        self._remove_directories()
        self._log_summary()
        self._has_ended = True  # before waking: whoever wakes shall see it
        self._context.wake()

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except GivenUp:
            raise
        except ClaimLostError as error:
            logger.warning("%s", error, extra=self._recorder.extra)
            self.verdict = None
        except BaseException as error:  # the outermost level of the thread
            logger.exception("the run crashed", extra=self._recorder.extra)
            self._record_crash(error)

    def _remove_directories(self) -> None:
        """Remove what the attempt needed, unless another dispatcher goes on with it."""
        self._progress.end(is_final=self.is_final)
        if self._driver is not None and self._driver.is_adopted_elsewhere:
            return
        self._directory.remove()
        if self._adopted is not None or self._is_tested:
            for directory in attempt.siblings(self._directory):
                remove_tree(directory)

    def _evaluate_and_record(self) -> None:
        verdict = self._evaluate()
        stop = self._request.reason
        is_done = verdict.outcome is Outcome.SUCCEEDED or self._has_failed(verdict)
        if stop is not None and not (is_done and stop is Stop.SHUTDOWN):
            verdict = judge(Facts(0, stop=stop))
        self._record(verdict)

    def _record(self, verdict: Verdict) -> None:
        if self._request.reason is Stop.CLAIM_LOST:
            raise ClaimLostError(self.claim.submission_id, self.claim.attempt)
        verdict = with_card(verdict, Subject(self.name, self.claim.submission_id, self._paths))
        self.verdict = verdict
        if verdict.outcome is Outcome.SUCCEEDED and self.results is not None:
            self._recorder.score(self.results)
            self.is_recorded = self.is_final = True
        else:
            self._end(verdict)

    def _end(self, verdict: Verdict) -> None:
        """Record an attempt without scores; what it has done is kept if it is to be repeated."""
        kept = self._progress.to_keep(verdict)
        state = self._recorder.end(verdict, is_delayed=self._request.reason is None, kept=kept)
        self.is_final = state is not None and state.is_final
        self.is_recorded = True

    def _evaluate(self) -> Verdict:
        deployed = None
        if not self._is_tested:
            facts = self._work()
            verdict, own = judge(facts), judge(replace(facts, stop=None))
            if self._has_failed(own):
                return own
            if verdict.outcome is not Outcome.SUCCEEDED:
                return verdict
            assert self._bundle is not None  # noqa: S101  the run succeeded with it
            deployed = self._recorder.finish(self._bundle.name)
        return self._score(deployed)

    def _has_failed(self, verdict: Verdict) -> bool:
        """Whether the participant's code failed, and nothing that the dispatcher did is the cause.

        Such a failure is recorded also when the dispatcher is going down: a new attempt would end
        in the same way.
        """
        has_ended = self._driver is not None and self._driver.has_ended_by_itself
        return verdict.outcome is Outcome.FAILED and (has_ended or self._is_prediction_fault)

    def _work(self) -> Facts:
        """Let the worker run the folds; everything that it raises becomes a fact."""
        try:
            assignment = self._recorder.patiently(self._read_assignment)
            self._paths = tuple(file.path for file in assignment.files)
            self._bundle = self._find_bundle(assignment.bundle)
            self._note_provenance(self._bundle, assignment.files)
            worker = self._make_worker(self._bundle, assignment.files)
        except DatabaseUnavailableError:
            raise
        except RampError as error:
            return replace(self._facts_of(error), stop=self._request.reason)
        facts = self._train(worker, self._bundle)
        return Facts(
            n_folds=self._bundle.n_folds,
            timeout_seconds=self._context.event.dispatcher.timeout,
            stop=self._request.reason,
            folds=attempt.read_folds(self._directory.fold_predictions_dir),
            is_adopted=self._adopted is not None,
            **facts,
        )

    def _train(self, worker: BaseWorker, bundle: Bundle) -> dict[str, Any]:
        """Have the folds run that are missing, and put all of them together."""
        progress = self._progress
        if progress.missing == [] and self._adopted is None:
            self._recorder.start(None, bundle.name, told=progress.told())
            facts = progress.without_run()
        else:
            self._driver = Driver(
                worker,
                self._context.event,
                self._recorder,
                self._calls,
                self._request,
                on_phase=self._enter,
                on_done=progress.note_done,
                told=progress.told(),
            )
            facts = self._driver.drive(bundle.name, self._adopted)
        return facts | progress.end_training(is_collected="returncode" in facts)

    def _enter(self, phase: str) -> None:
        self.phase = phase

    def _read_assignment(self) -> submissions.Assignment:
        with self._context.database.session(read_only=True) as session:
            return submissions.assignment(session, self.claim.submission_id)

    def _note_provenance(self, bundle: Bundle, files: Sequence[submissions.SubmissionFile]) -> None:
        """Have it recorded what the attempt is evaluated with, unless that is another bundle."""
        if self._adopted is not None and self._adopted.bundle_hash != bundle.name:
            return
        self._recorder.provenance = Provenance.of_bundle(
            bundle.name,
            bundle.read_hashes(),
            submission=submissions.content_hash(files),
            engine=ramp_engine.__version__,
        )

    def _find_bundle(self, name: str | None) -> Bundle:
        return self._recorder.patiently(lambda: self._context.bundle(name))

    def _make_worker(
        self, bundle: Bundle, files: Sequence[submissions.SubmissionFile]
    ) -> BaseWorker:
        context = self._context
        shared = self._calls("open_shared", context.shared)
        attempt.write_submission(files, self._directory, context.event.ramp.submissions_dir)
        config = context.event.worker_config() | self._directory.worker_keys()
        config |= context.identity(self.claim)
        config |= {"bundle_dir": str(bundle.public), "n_folds": bundle.n_folds}
        kind = context.worker_class
        environment = self._calls("fold_environment", lambda: kind.fold_environment(config, shared))
        self._progress.begin(bundle, kind, environment, is_adopted=self._adopted is not None)
        config |= self._progress.worker_keys()
        if self._adopted is not None:
            config["elapsed_seconds"] = self._adopted.elapsed_seconds
        name = self._directory.submission
        worker = self._calls("__init__", lambda: context.worker_class(config, name))
        worker.shared = shared
        self._worker = worker
        if self._request.reason is not None:  # made before there was anybody to tell
            worker.wake()
        return worker

    def _score(self, deployed: str | None) -> Verdict:
        """Score the predictions if they are of the bundle that is deployed, where that is known."""
        self.phase = "scoring"
        self._context.wake()  # its slot is free
        event = self._context.event
        log_path = submission_log(event, self.claim.submission_id, "score.log")
        predictions = self._recorder.predictions
        try:
            bundle = self._find_bundle(deployed)
            trained_with = attempt.made_with(predictions)
            if trained_with != bundle.name:
                return not_scorable(trained_with, is_rescued=self._is_tested)
            if self._is_tested:
                assignment = self._recorder.patiently(self._read_assignment)
                self._note_provenance(bundle, assignment.files)
            report = self._context.score(
                event,
                self._context.python(),
                bundle,
                predictions,
                self._directory.scored_dir,
                log_path,
                self._request.made,
            )
        except RampError as error:
            return judge(self._facts_of(error))
        if isinstance(report, PredictionFault):
            self._is_prediction_fault = True
            return Verdict(Outcome.FAILED, report.state, tellable(report.message), report.fold)
        self.results = report
        return Verdict(Outcome.SUCCEEDED, None)

    def _facts_of(self, error: BaseException) -> Facts:
        """Give what an error on our side says of the attempt that it ends."""
        is_ours = isinstance(error, RampError)
        crash = str(error) if is_ours else f"{type(error).__name__}: {error}"
        full_dir = find_full(error, self._context.event.ramp.work_dir)
        is_unavailable = isinstance(error, ResourceUnavailableError)
        return Facts(0, crash=crash, is_unavailable=is_unavailable, full_dir=full_dir)

    def _record_crash(self, error: BaseException) -> None:
        self.verdict = judge(self._facts_of(error))
        try:
            self._end(self.verdict)
        except RampError:
            logger.exception("the crash could not be recorded", extra=self._recorder.extra)

    def _log_summary(self) -> None:
        outcome = str(self.verdict.outcome) if self.verdict else str(Stop.CLAIM_LOST)
        seconds = round(time.monotonic() - self.started_at, 3)
        facts = self._recorder.extra | {"outcome": outcome, "seconds": seconds}
        logger.info("attempt ended", extra=facts)


def submission_log(event: EventConfig, submission_id: int, name: str = "log") -> Path:
    """Name a log of a submission: ``log``, and for organisers ``private.log``, ``score.log``."""
    return event.ramp.logs_dir / submissions.directory_name(submission_id) / name
