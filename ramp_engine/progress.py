"""What an attempt has done so far: folds that are done, their scores, and what came before.

For the thread of a run: it tells when folds are done, and when the attempt ends.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from ramp_database.queue import Claim
from ramp_engine.attempt import AttemptDirectory, siblings
from ramp_engine.base import BaseWorker, Capability
from ramp_engine.config import EventConfig
from ramp_engine.done_folds import DoneFolds, kept_directory, marks
from ramp_engine.fold_process import remove_tree
from ramp_engine.outcome import Outcome, Verdict
from ramp_engine.partial_scoring import PartialScoring
from ramp_engine.preparation import Bundle
from ramp_engine.recording import Recorder
from ramp_engine.room import find_full
from ramp_engine.scoring import PredictionFault, ScoreStep

__all__ = ["Progress"]

logger = logging.getLogger(__name__)

#: How long the end of an attempt waits for partial scoring to end, in seconds.
JOIN_SECONDS = 10.0


class Progress:
    """The progress of one attempt.

    Parameters
    ----------
    event : EventConfig
    directory : AttemptDirectory
    claim : Claim
    recorder : Recorder
    score : ScoreStep
    python : callable
        Gives the interpreter of the trusted steps.
    """

    def __init__(
        self,
        event: EventConfig,
        directory: AttemptDirectory,
        claim: Claim,
        recorder: Recorder,
        score: ScoreStep,
        python: Callable[[], Path],
    ) -> None:
        self._event = event
        self._directory = directory
        self._claim = claim
        self._recorder = recorder
        self._score = score
        self._python = python
        self._done: DoneFolds | None = None
        self._scoring: PartialScoring | None = None
        self._bundle: Bundle | None = None
        self._is_keeping = False
        self._is_collected = False
        self._kept = kept_directory(event.ramp.work_dir, directory.submission)

    @property
    def missing(self) -> Sequence[int] | None:
        """The folds that are not done; None where that is not known yet."""
        return None if self._done is None else self._done.missing

    def begin(
        self,
        bundle: Bundle,
        worker_class: type[BaseWorker],
        environment: str,
        *,
        is_adopted: bool,
    ) -> None:
        """Begin, with what an earlier attempt has done where that is of use.

        Parameters
        ----------
        bundle : Bundle
        worker_class : type
        environment : str
            The worker's `BaseWorker.fold_environment`.
        is_adopted : bool
            Whether the run was started by another dispatcher.
        """
        self._bundle = bundle
        self._is_keeping = Capability.FOLDS in worker_class.capabilities
        known = self._recorder.provenance

        def made_with() -> dict[str, str]:
            return marks(
                bundle=bundle.name,
                submission=known and known.submission,
                engine=known and known.engine,
                worker=[self._event.worker_type, self._event.worker],
                environment=environment,
            )

        done = DoneFolds(self._directory, self._claim.attempt, bundle.n_folds, made_with)
        if is_adopted:
            for path in siblings(self._directory):
                done.adopt_from(AttemptDirectory(path, self._directory.submission))
        elif self._is_keeping and self._kept.is_dir():
            done.adopt(self._kept, self._recorder.newest_reopened())
        self._done = done
        n_kept = len(done.origins)
        self._scoring = PartialScoring(self._score_folds, self._recorder.extra, n_kept)

    def worker_keys(self) -> dict[str, Any]:
        """Give the keys that tell a worker which folds it runs; none when it runs all."""
        if self._done is None or not self._done.origins:
            return {}
        return {"folds": self._done.missing, "kept_folds": dict(self._done.origins)}

    def told(self) -> str:
        """Tell what an earlier attempt has done, for the history; empty when there is nothing."""
        if self._done is None:
            return ""
        earlier: dict[int, list[int]] = {}
        for fold, attempt in sorted(self._done.origins.items()):
            earlier.setdefault(attempt, []).append(fold)
        said = [
            f"{'fold' if len(folds) == 1 else 'folds'} {', '.join(map(str, folds))} kept "
            f"from attempt {attempt}"
            for attempt, folds in earlier.items()
        ]
        if self._done.changed:
            said.append(f"earlier folds are of no use, changed: {', '.join(self._done.changed)}")
        return ", ".join(said)

    def without_run(self) -> dict[str, Any]:
        """Go on to the scores: all folds were done before. The log stays, or says just that.

        Returns
        -------
        dict
            Fields of `ramp_engine.outcome.Facts`.
        """
        name = self._directory.submission
        if not (self._event.ramp.logs_dir / name / "log").exists():
            log = self._directory.logs_dir / name / "log"
            log.parent.mkdir(exist_ok=True)
            log.write_text(f"{self.told()}\n")
        return {"returncode": 0}

    def note_done(self, folds: Collection[int]) -> None:
        """Take folds that the worker has handed over, and have them scored.

        Raises
        ------
        OSError
            The disk refuses.
        """
        if self._done is None or self._scoring is None:
            return
        self._done.take(folds)
        if self._done.origins and self._done.missing:
            self._scoring.offer(self._done.origins, len(self._done.missing))

    def end_training(self, *, is_collected: bool) -> dict[str, Any]:
        """Put all folds together: those of the run, and those that were taken before its end.

        Parameters
        ----------
        is_collected : bool
            Whether the worker has collected what there is: what it was about to may be half of it.

        Returns
        -------
        dict
            Fields of `ramp_engine.outcome.Facts`: a disk that refuses.
        """
        self._is_collected = is_collected
        if self._scoring is not None:
            self._scoring.stop()
        try:
            if self._done is not None:
                self._done.give_back()
        except OSError as error:
            crash = f"folds that were done before cannot be taken: {error}"
            return {"crash": crash, "full_dir": find_full(error, self._directory.root)}
        return {}

    def to_keep(self, verdict: Verdict) -> list[tuple[Path, Path]]:
        """Give what is to be moved, and where to, when an attempt ends without a verdict."""
        is_again = verdict.outcome in (Outcome.CRASHED, Outcome.INTERRUPTED)
        if self._done is None or not self._is_keeping or not is_again or verdict.is_disk_full:
            return []
        if not self._done.leave(with_collected=self._is_collected):
            return []
        self._kept.parent.mkdir(exist_ok=True)
        return [(self._directory.done_dir, self._kept)]

    def end(self, *, is_final: bool) -> None:
        """End; of a submission that has come to its end nothing is kept."""
        if self._scoring is not None:
            self._scoring.stop()
            self._scoring.join(JOIN_SECONDS)
        if is_final and self._kept.exists():
            remove_tree(self._kept)

    def _score_folds(self, folds: list[int], stopping: threading.Event) -> None:
        assert self._bundle is not None  # noqa: S101  it was there when the folds began
        report = self._score(
            self._event,
            self._python(),
            self._bundle,
            self._directory.done_dir,
            self._directory.scored_dir,
            self._directory.root / "partial.log",
            stopping,
            folds=folds,
        )
        if isinstance(report, PredictionFault):
            logger.info("folds %s have no scores: %s", folds, report.message)
        elif not stopping.is_set():
            self._recorder.note_partial(report, self._bundle.n_folds)
