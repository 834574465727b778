"""What all workers share that run folds: taking over what a run has left in its directories."""

from __future__ import annotations

import contextlib
import logging
import os
from abc import abstractmethod
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from ramp_engine.base import TIMEOUT_RETURNCODE, BaseWorker, WorkerStatus
from ramp_engine.errors import CollectError, WorkerError, WorkerLostError, WorkerSetupError
from ramp_engine.fold_outputs import (
    MAX_TOTAL_BYTES,
    copy_fold,
    copy_log,
    copy_predictions,
    failure_message,
    is_tested,
    open_untrusted,
    read_result,
)
from ramp_engine.fold_process import FoldScratch
from ramp_engine.outcome import EXIT_KIT, EXIT_OURS
from ramp_engine.room import as_good_as_full

__all__ = ["FoldWorker", "check"]

logger = logging.getLogger(__name__)

#: The statuses of a run that has done folds, or may have.
_AFTER_LAUNCH = (WorkerStatus.RUNNING, WorkerStatus.FINISHED, WorkerStatus.RETRY)


class FoldWorker(BaseWorker):
    """Collect from the directories of a run of the fold step, wherever its folds are.

    Subclasses start and end the run, and say what became of it.
    """

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._handed: set[int] = set()  # folds that were handed over
        self._n_bytes_left = MAX_TOTAL_BYTES  # that may still be copied

    # What a subclass knows

    @property
    @abstractmethod
    def _scratch(self) -> FoldScratch:
        """The directories of the run; asked for after `setup` only."""

    @property
    @abstractmethod
    def _returncode(self) -> int | None:
        """Exit code of the run; None before its end."""

    @abstractmethod
    def _end_run(self) -> bool:
        """End all processes of the run; tell whether they are gone. May be called again."""

    @abstractmethod
    def _loss(self) -> str | None:
        """Tell how the run was lost, in words; None when it ended by itself."""

    @contextlib.contextmanager
    def _log(self) -> Iterator[IO[bytes]]:
        """Open what the run has printed."""
        with open_untrusted(self._scratch.log) as log:
            yield log

    # Collecting

    def collect_done_folds(self) -> Collection[int]:
        """Copy the outputs of folds that are done.

        Raises
        ------
        CollectError
            The disk refuses.
        """
        if self.last_status not in _AFTER_LAUNCH:
            return self._handed
        output, target = self._scratch.output, self._path("predictions_dir")
        for number in self._numbers:
            if number not in self._handed and is_tested(output, number):
                try:
                    n_bytes = copy_fold(
                        output, target / self.submission, number, self._n_bytes_left
                    )
                except OSError as error:
                    raise CollectError(f"fold {number} cannot be copied: {error}") from error
                self._n_bytes_left -= n_bytes
                self._handed.add(number)
        return self._handed

    def collect_results(self) -> tuple[int, str]:
        """Copy predictions and logs to where the dispatcher wants them.

        Returns
        -------
        returncode : int
            0; 1 the participant's failure; 3 the kit's; 70 ours; 124 the time limit; 128 + signal.
        error_msg : str

        Raises
        ------
        WorkerStateError
            As in the base class.
        WorkerLostError
            The run was lost: the supervisor or the node died.
        CollectError
            The disk refuses.
        """
        super().collect_results()
        has_timed_out = self.last_status is WorkerStatus.TIMEOUT
        if not self._end_run():
            raise WorkerLostError(f"the processes of {self.submission} cannot be ended")
        try:
            self._copy_outputs()
        except OSError as error:
            raise CollectError(f"results of {self.submission} cannot be copied: {error}") from error
        returncode, error_msg = self._timed_out() if has_timed_out else self._facts()
        self.status = WorkerStatus.COLLECTED
        return returncode, error_msg

    def _copy_outputs(self) -> None:
        self._copy_logs()
        target = self._path("predictions_dir") / self.submission
        copy_predictions(self._scratch.output, target, self._handed, self._n_bytes_left)

    def _copy_logs(self) -> None:
        logs = self._path("logs_dir") / self.submission
        with self._log() as log:
            copy_log(log, logs / "log")
        with contextlib.suppress(OSError), open_untrusted(self._scratch.private_log) as private:
            copy_log(private, logs / "private.log", 0o600)

    def _keep_logs(self) -> None:
        """Copy the logs of a run that was ended early, as far as the disk takes them."""
        try:
            self._copy_logs()
        except OSError as error:
            logger.warning("no log is kept: %s", error, extra={"worker": repr(self)})

    def _is_out_of_time(self, overdue_seconds: float) -> bool:
        """Tell whether the supervisor ended the run at its time limit, or should have by now."""
        if self._timeout is None or self._started_at is None:
            return False
        seconds = self.clock() - self._started_at - self._timeout
        has_ended_it = self._returncode == TIMEOUT_RETURNCODE and seconds >= 0
        return has_ended_it or (self._returncode is None and seconds >= overdue_seconds)

    def _timed_out(self) -> tuple[int, str]:
        return TIMEOUT_RETURNCODE, f"out of time: not done after {self._timeout:g} s"

    def _facts(self) -> tuple[int, str]:
        loss = self._loss()
        if loss is not None:
            raise WorkerLostError(loss)
        returncode = self._returncode or 0
        result = read_result(self._scratch.result)
        is_cut_short = result is None or returncode in (EXIT_KIT, EXIT_OURS)
        full = as_good_as_full(self._scratch.root) if is_cut_short else None
        if full is not None:
            raise CollectError("the folds left no result on a full disk") from full
        error_msg = failure_message(result, returncode)
        return returncode or int(bool(error_msg)), error_msg

    # Configuration

    def _check_inputs(self) -> None:
        """Check that bundle and submission are there.

        Raises
        ------
        WorkerSetupError
            One of them is missing.
        """
        check(self._path("bundle_dir") / "manifest.json", "the event's bundle", "Deploy the event")
        check(self._submission_dir, "the submission", "Was it removed?")

    def _kept_folds(self) -> bytes:
        """Give the lines of the log about folds that earlier attempts have done."""
        kept = sorted(self.config.get("kept_folds", {}).items())
        return b"".join(b"fold %d is kept from attempt %d\n" % pair for pair in kept)

    @property
    def _numbers(self) -> Collection[int]:
        """The folds that are run."""
        return self.config.get("folds") or range(int(self.config["n_folds"]))

    @property
    def _timeout(self) -> float | None:
        timeout = self.config.get("timeout")
        return None if timeout is None else float(timeout)

    def _path(self, key: str) -> Path:
        try:
            return Path(os.fspath(self.config[key]))
        except KeyError as error:
            reason = f"{type(self).__name__} needs {key} in its config"
            raise WorkerError(reason, "The dispatcher gives it") from error

    @property
    def _submission_dir(self) -> Path:
        return self._path("submissions_dir") / self.submission


def check(path: Path, what: str, hint: str) -> None:
    """Raise `WorkerSetupError` when something is missing."""
    if not path.exists():
        raise WorkerSetupError(f"{what} is missing: no {path}", hint)
