"""Writing down what became of an attempt, files and rows together.

Files are copied beside their destination first, and renamed into place inside the transaction
whose guarded UPDATE proved that the claim still holds. A dispatcher that lost its claim publishes
nothing.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from sqlalchemy.orm import Session

from ramp_database import attempts, queue
from ramp_database.partial import PartialScores
from ramp_database.provenance import Provenance
from ramp_database.queue import Claim
from ramp_database.results import Results
from ramp_database.session import Database
from ramp_database.states import State
from ramp_engine import attempt
from ramp_engine.attempt import AttemptDirectory
from ramp_engine.config import EventConfig
from ramp_engine.errors import CollectError, DatabaseUnavailableError, TransitionError
from ramp_engine.fold_process import remove_tree
from ramp_engine.outcome import Outcome, Verdict
from ramp_engine.sandbox import NONE

logger = logging.getLogger(__name__)
T = TypeVar("T")

#: Wait between two tries to write to a database that cannot be reached, in seconds.
DATABASE_RETRY_SECONDS = 2.0

_Publication = tuple[Path, Path]


def confinement(level: str) -> str:
    """Say how submitted code is confined, for the history and for people."""
    return "not confined" if level == NONE else f"confined by {level}"


class Recorder:
    """Record the steps of one attempt.

    Parameters
    ----------
    database : Database
    event : EventConfig
    claim : Claim
        The token for every write.
    directory : AttemptDirectory
        Where the attempt's outputs are.
    stopping : Event
        Set when the dispatcher ends the run: a database that is away is then not waited for.
    """

    def __init__(
        self,
        database: Database,
        event: EventConfig,
        claim: Claim,
        directory: AttemptDirectory,
        stopping: threading.Event,
    ) -> None:
        self._database = database
        self._event = event
        self._claim = claim
        self._directory = directory
        self._stopping = stopping
        self._has_published_logs = False
        #: What the attempt is evaluated with, once that is known; it is recorded at its end.
        self.provenance: Provenance | None = None

    @property
    def predictions(self) -> Path:
        """Where the submission's predictions are published."""
        return self._event.ramp.predictions_dir / self._directory.submission

    @property
    def claim(self) -> Claim:
        """The token for every write."""
        return self._claim

    def holder(self) -> int | None:
        """Ask which dispatcher owns the attempt; None when it is over."""

        def ask() -> int | None:
            with self._database.session(read_only=True) as session:
                return queue.holder(session, self._claim)

        return self.patiently(ask)

    def start(
        self, handle: str | None, bundle: str, sandbox: str | None = None, told: str = ""
    ) -> None:
        """Record that the folds start, before they do.

        Parameters
        ----------
        handle : str or None
            By which another dispatcher can find the run.
        bundle : str
            Name of the bundle that the folds are trained with.
        sandbox : str or None
            How they are confined; None when the worker does not say.
        told : str
            What else the history is to say of it.

        Raises
        ------
        ClaimLostError
            As all methods here: nothing is recorded or published then.
        """
        reason = "started" if sandbox is None else f"started, {confinement(sandbox)}"
        reason += f"; {told}" if told else ""
        self._transact(
            lambda session: queue.start(session, self._claim, handle, bundle, reason, sandbox)
        )

    def note_partial(self, results: Results, n_folds: int) -> None:
        """Record the scores of folds that are done, once: nobody waits for a database that is away.

        Raises
        ------
        ClaimLostError
            As all methods here.
        TransitionError
            The folds are over.
        DatabaseUnavailableError
            The database is away.
        """
        with self._database.session() as session:
            queue.note_partial(session, self._claim, PartialScores.of(results, n_folds))

    def finish(self, bundle: str) -> str | None:
        """Publish predictions and logs, and record that they are there.

        Parameters
        ----------
        bundle : str
            Name of the bundle that they were made with.

        Returns
        -------
        str or None
            Name of the bundle of the event as it is deployed now; None when the answer was lost.

        Raises
        ------
        CollectError
            The disk refuses.
        """
        directory = self._directory
        parent = self._event.ramp.predictions_dir
        staged = attempt.stage_predictions(
            directory.fold_predictions_dir, parent, directory.root.name, bundle
        )
        try:
            logs = self._logs()
        except CollectError:
            remove_tree(staged)
            raise
        deployed = self._transact(
            lambda session: queue.finish(session, self._claim),
            [(staged, self.predictions), *logs],
        )
        self._has_published_logs = True
        return deployed

    def score(self, results: Results) -> None:
        """Publish what the score step wrote, and record the scores.

        Raises
        ------
        CollectError
            The disk refuses.
        """
        staged = attempt.move_across(
            self._directory.scored_dir,
            self.predictions.with_name(f".{self._directory.root.name}.scored"),
        )
        self._transact(
            lambda session: queue.score(session, self._claim, results, self.provenance),
            [(staged, self.predictions)],
        )

    def newest_reopened(self) -> int:
        """Ask for the newest attempt after which the submission was to start from nothing."""

        def ask() -> int:
            with self._database.session(read_only=True) as session:
                return attempts.newest_reopened(session, self._claim.submission_id)

        return self.patiently(ask)

    def end(
        self, verdict: Verdict, *, is_delayed: bool = False, kept: Sequence[_Publication] = ()
    ) -> State | None:
        """Record an attempt that brought no scores, with the logs that there are.

        Parameters
        ----------
        verdict : Verdict
        is_delayed : bool
            Whether an interrupted attempt waits before it is tried again.
        kept : sequence of (Path, Path)
            What is to be moved for the next attempt, and where to.

        Returns
        -------
        State or None
            What that made of the submission; None when the answer was lost.
        """
        claim, error, known = self._claim, verdict.error or "", self.provenance
        outcome, state = verdict.outcome, verdict.state
        work: Callable[[Session], State | None]
        if outcome is Outcome.CRASHED:
            n = self._event.dispatcher.max_attempts
            work = lambda session: queue.crash(session, claim, error, n, known)  # noqa: E731
        elif outcome is Outcome.INTERRUPTED:
            work = lambda session: queue.release(  # noqa: E731
                session, claim, error, is_delayed=is_delayed, provenance=known
            )
        elif outcome is Outcome.CANCELED:
            work = lambda session: queue.acknowledge_cancel(session, claim, known)  # noqa: E731
        else:
            assert state is not None  # noqa: S101  judge gives one to each of these
            work = lambda session: queue.fail(  # noqa: E731
                session, claim, state, error, outcome, known
            )
        try:
            ended = self._transact(work, [*self._logs(), *kept])
        except CollectError as refused:  # the disk; what became of the attempt is recorded
            logger.error("no log is kept: %s", refused, extra=self.extra)
            ended = self._transact(work)
        return state or ended

    def _logs(self) -> list[_Publication]:
        """Stage the logs, once: the score step adds its own to those that are published."""
        directory, logs_dir = self._directory, self._event.ramp.logs_dir
        source = directory.logs_dir / directory.submission
        if self._has_published_logs or not source.is_dir():
            return []
        staged = attempt.stage_logs(source, logs_dir, directory.root.name)
        return [(staged, logs_dir / directory.submission)]

    @property
    def extra(self) -> dict[str, object]:
        """The facts for log records."""
        return {
            "event": self._event.ramp.event_name,
            "submission": self._claim.submission_id,
            "attempt": self._claim.attempt,
            "dispatcher": self._claim.dispatcher_id,
        }

    def patiently(self, work: Callable[[], T]) -> T:
        """Do `work`, again for as long as the database is away.

        Raises
        ------
        DatabaseUnavailableError
            It is away, and the dispatcher ends the run: another will rescue the submission.
        """
        while True:
            try:
                return work()
            except DatabaseUnavailableError:
                logger.warning("the database is away, will try again", extra=self.extra)
                if self._stopping.wait(DATABASE_RETRY_SECONDS):
                    raise

    def _transact(
        self, work: Callable[[Session], T], publications: Sequence[_Publication] = ()
    ) -> T | None:
        """Do `work` and publish, in one transaction; what was staged is gone afterwards.

        Returns
        -------
        T or None
            What `work` returned; None when an earlier try had succeeded and its answer was lost.
        """
        n_tries = 0

        def transact() -> T:
            nonlocal n_tries
            n_tries += 1
            with self._database.session() as session:
                result = work(session)
                for staged, target in publications:
                    attempt.publish(staged, target)
            return result

        try:
            return self.patiently(transact)
        except TransitionError:
            if n_tries == 1:
                raise
            return None  # the commit had succeeded, only its answer was lost
        finally:
            for staged, _ in publications:
                remove_tree(staged)
