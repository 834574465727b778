"""One run of the fold step on this machine: its directories, its command, its process tree."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.run_command import (
    GRACE_SECONDS,
    fold_arguments,
    folds_in_flight,
    let_pass,
    run_environment,
    threads_of_a_fold,
)
from ramp_engine.evaluation.run_folder import (
    MAX_TMPDIR_LENGTH,
    FoldScratch,
    find_tmp,
    remove_tree,
)
from ramp_engine.step_server import ServedProcess, StepCall, start_cold
from ramp_engine.step_servers import StepServers, step_servers
from ramp_engine.supervised import SupervisedProcess

__all__ = [
    "MAX_TMPDIR_LENGTH",
    "FoldRun",
    "FoldScratch",
    "fold_servers",
    "folds_in_flight",
    "make_scratch",
    "remove_tree",
]


class FoldRun:
    """One run of the fold step, with all the folds of a submission.

    Parameters
    ----------
    python : Path
        The event's interpreter.
    scratch_parent : Path
        Where the directory of the run is made.

    Raises
    ------
    WorkerSetupError
        The disk refuses.
    """

    def __init__(self, python: Path, scratch_parent: Path) -> None:
        self.python = python
        self.scratch = make_scratch(scratch_parent)
        try:
            self.log = self.scratch.log.open("a+b")
        except OSError as error:
            raise WorkerSetupError(f"no room for the run's files: {error}") from error
        self.process: ServedProcess | SupervisedProcess | None = None

    def start(
        self,
        *,
        bundle: Path,
        submission: Path,
        n_threads: int | None,
        n_jobs: int = 1,
        sandbox: Mapping[str, Any],
        gpus: Sequence[str],
        timeout_seconds: float | None,
        on_end: Callable[[], None],
        servers: StepServers | None = None,
        folds: Sequence[int] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Start the folds, from a warm process where there is one.

        Parameters
        ----------
        bundle : Path
            The public half of the event's bundle.
        submission : Path
            The participant's files.
        n_threads : int or None
            Of the run in total; None: as many as the libraries take.
        n_jobs : int
            So many folds at a time, which share the threads.
        sandbox : mapping
            As `ramp_engine.sandbox.Sandbox.spec` gives it.
        gpus : sequence of str
            Those that the run may use, as CUDA numbers or names them.
        timeout_seconds : float or None
            Time limit of the whole run.
        on_end : callable
            Called once when the tree has ended, in a thread of its own.
        servers : StepServers, optional
            Those of the event.
        folds : sequence of int, optional
            Those that are run; all of them by default.
        checkpoint : Path, optional
            A folder where the folds may save what they need to be resumed; it exists.

        Raises
        ------
        WorkerSetupError
            The machine refuses another process.
        """
        scratch = self.scratch
        let_pass(sandbox, (scratch.root, scratch.tmp))
        threads = threads_of_a_fold(bundle, n_threads, n_jobs)
        call = StepCall(
            arguments=fold_arguments(
                scratch,
                bundle=bundle,
                submission=submission,
                n_jobs=n_jobs,
                sandbox=sandbox,
                folds=folds,
                checkpoint=checkpoint,
            ),
            log=self.log,
            environment=run_environment(self.python, scratch.home, scratch.tmp, threads, gpus),
            cwd=scratch.work,
            timeout_seconds=timeout_seconds,
            grace_seconds=GRACE_SECONDS,
            remove_when_orphaned=(scratch.root, scratch.tmp),
            on_end=on_end,
        )
        warm = None if servers is None else servers.start(bundle, call)
        self.process = warm or start_cold(self.python, call)

    @property
    def is_warm(self) -> bool:
        """Whether the run was forked from a fold server."""
        return isinstance(self.process, ServedProcess)

    @property
    def returncode(self) -> int | None:
        """Exit code of the run; None before its end."""
        return None if self.process is None else self.process.returncode

    def ask_to_leave(self) -> None:
        """Have the participant's process get SIGTERM; a run without a checkpoint just ends."""
        if self.process is not None:
            for pid in itertools.islice(supervise.descendants(self.process.pid), 1):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGUSR1)

    def end(self) -> bool:
        """End the tree; tell whether it is gone. May be called again."""
        return self.process is None or self.process.end()

    def remove(self) -> None:
        """Remove the directories of the run, as far as they can be. May be called again."""
        self.log.close()
        remove_tree(self.scratch.root)
        remove_tree(self.scratch.tmp)


def make_scratch(parent: Path) -> FoldScratch:
    """Make the directories of a run.

    Raises
    ------
    WorkerSetupError
        The disk refuses.
    """
    try:
        root = Path(tempfile.mkdtemp(dir=parent, prefix="scratch-"))
        scratch = FoldScratch(root, find_tmp(root))
        scratch.make()
    except OSError as error:
        raise WorkerSetupError(f"no room for the run's files: {error}") from error
    return scratch


def fold_servers(
    python: Path,
    scratch_dir: Path,
    n_threads: int | None,
    sandbox: Mapping[str, Any],
    n_jobs: int = 1,
) -> contextlib.AbstractContextManager[StepServers]:
    """Hold the fold servers of a dispatcher; they end with the block, and their runs with them.

    Parameters
    ----------
    python : Path
        The event's interpreter.
    scratch_dir : Path
        Where they work; made when missing.
    n_threads : int or None
        Of each run in total, as the libraries read it when they are imported.
    sandbox : mapping
        Level and user, as for a run.
    n_jobs : int
        As for a run.

    Raises
    ------
    OSError
        The disk refuses a folder; on entering.
    """

    def environment(home: Path, bundle: Path) -> dict[str, str]:
        threads = threads_of_a_fold(bundle, n_threads, n_jobs)
        return run_environment(python, home, home, threads, ())

    return step_servers(
        python,
        "fold",
        scratch_dir,
        environment,
        ["--sandbox", json.dumps(sandbox)],
    )
