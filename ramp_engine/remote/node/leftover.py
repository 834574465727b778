"""What a fold has left on a node, once all its processes are gone: taken as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.base import TIMEOUT_RETURNCODE
from ramp_engine.evaluation.left_outputs import LOG_HALF_BYTES
from ramp_engine.evaluation.untrusted_files import read_text
from ramp_engine.fold_outputs import (
    MAX_FILE_BYTES,
    copy_log,
    open_untrusted,
    output_sizes,
    read_result,
)
from ramp_engine.fold_process import FoldRun
from ramp_engine.outcome import EXIT_KIT, EXIT_OURS
from ramp_engine.remote.frames import fits
from ramp_engine.remote.node.checkpoint import CheckpointError
from ramp_engine.room import as_good_as_full

__all__ = ["Leftover"]

#: Of a fold that has not been let read the test data; empty: it has not trained to the end.
_UNRELEASED = ("", "trained", "training_error", "validating_error")


class Leftover:
    """The results of a run of one fold.

    Parameters
    ----------
    run : FoldRun
        It has ended.
    fold : int
    """

    def __init__(self, run: FoldRun, fold: int) -> None:
        self._run = run
        self._fold = fold

    def header(self, end: str) -> dict[str, Any]:
        """Give what is said of the end of the run.

        Parameters
        ----------
        end : str
            How it was ended from outside; empty: it was not. One that was asked to leave and is
            done all the same is done.
        """
        returncode = self._run.returncode
        result = read_result(self._run.scratch.result)
        if not fits(result):  # who writes so much of itself is no fold step
            result = None
        said = {"returncode": returncode, "result": result, "kind": ""}
        if end and not (end == "reclaimed" and returncode == 0 and result is not None):
            return said | {"how": end}
        process = self._run.process
        if process is None or process.killed_by is not None:
            return said | {"how": "lost", "message": "the supervisor of the fold was killed"}
        if returncode == TIMEOUT_RETURNCODE:
            return said | {"how": "timeout"}
        if result is None or returncode in (EXIT_KIT, EXIT_OURS):
            full = as_good_as_full(self._run.scratch.root)
            if full is not None:
                message = f"the disk of the node is full: {full}"
                return said | {"how": "refused", "kind": "disk", "message": message}
        return said | {"how": "done"}

    def check_unreleased(self) -> None:
        """See that what the fold has saved cannot hold test data.

        It is given back to training, where it could be printed into the public log.

        Raises
        ------
        CheckpointError
            The fold had been let read the test data.
        """
        scratch = self._run.scratch
        state = read_text(scratch.output / f"fold_{self._fold}", "state.txt")
        if state not in _UNRELEASED or scratch.private_log.lstat().st_size:
            raise CheckpointError(
                "the checkpoint is not kept: the fold was predicting the test data"
            )

    def files(self, checkpoint: Mapping[str, Path]) -> dict[str, tuple[Path, int]]:
        """List what is given to the caller, each with its size [bytes].

        Parameters
        ----------
        checkpoint : mapping
            As from `ramp_engine.remote.node.checkpoint.list_files`.
        """
        found = {"log": self._cut("log", self._run.scratch.log)}
        found["private.log"] = self._cut("private.log", self._run.scratch.private_log)
        outputs = self._run.scratch.output / f"fold_{self._fold}"
        for name, size in output_sizes(outputs).items():
            if size <= MAX_FILE_BYTES:
                found[f"output/{name}"] = outputs / name, size
        for name, path in checkpoint.items():
            found[f"checkpoint/{name}"] = path, path.lstat().st_size
        return found

    def _cut(self, name: str, path: Path) -> tuple[Path, int]:
        """Leave out the middle of a log that is too long."""
        size = path.lstat().st_size
        if size <= 2 * LOG_HALF_BYTES:
            return path, size
        copy = self._run.scratch.root / f"cut-{name}"
        with open_untrusted(path) as log:
            copy_log(log, copy, 0o600)
        return copy, copy.stat().st_size
