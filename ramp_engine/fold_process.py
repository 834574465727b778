"""One run of the fold step on this machine: its directories, its command, its process tree."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.plan import LEVELS
from ramp_engine.step_server import ServedProcess, StepCall, start_cold
from ramp_engine.step_servers import StepServers, step_servers
from ramp_engine.supervised import SupervisedProcess

__all__ = [
    "FoldRun",
    "FoldScratch",
    "fold_servers",
    "folds_in_flight",
    "make_scratch",
    "remove_tree",
]

#: Read by numerical libraries when they are imported.
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "POLARS_MAX_THREADS",
    "LOKY_MAX_CPU_COUNT",
)
#: Sockets in TMPDIR, as multiprocessing makes them, have some 40 bytes of their own, of 108.
MAX_TMPDIR_LENGTH = 64
#: How long a run may take to finish its logs when it is ended early, in seconds.
GRACE_SECONDS = 1.0


@dataclass(frozen=True)
class FoldScratch:
    """The directories of one run, removed when it is torn down."""

    root: Path
    tmp: Path  #: TMPDIR of the run; elsewhere when `root` is too long a path
    log: Path = field(init=False)  #: what the run prints
    private_log: Path = field(init=False)  #: what it prints while it predicts test data
    result: Path = field(init=False)  #: what the fold step says of itself
    home: Path = field(init=False)
    work: Path = field(init=False)  #: where the folds may write
    output: Path = field(init=False)  #: ``fold_<i>/`` as the fold step sees them; no fold sees it

    def __post_init__(self) -> None:
        for name in ("log", "private_log", "home", "work", "output"):
            object.__setattr__(self, name, self.root / name)
        object.__setattr__(self, "result", self.root / "result.json")


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
        if sandbox.get("uid") is not None and sandbox.get("level") != LEVELS[0]:
            for folder in (scratch.root, scratch.tmp):
                folder.chmod(0o711)  # without mounts of its own, that user passes through them
        options = {
            "--bundle": bundle,
            "--submission": submission,
            "--output": scratch.output,
            "--scratch": scratch.work,
            "--private-log": scratch.private_log,
            "--result": scratch.result,
            "--jobs": n_jobs,
            "--sandbox": json.dumps(sandbox),
        }
        threads = _threads_of_a_fold(bundle, n_threads, n_jobs)
        if folds is not None:
            options["--folds"] = ",".join(map(str, folds))
        if checkpoint is not None:
            options["--checkpoint"] = checkpoint
        call = StepCall(
            arguments=["fold", *(str(part) for option in options.items() for part in option)],
            log=self.log,
            environment=_environment(self.python, scratch.home, scratch.tmp, threads, gpus),
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
        tmp = root / "tmp"
        if len(str(tmp)) > MAX_TMPDIR_LENGTH:
            tmp = Path(tempfile.mkdtemp(prefix="ramp-"))
        scratch = FoldScratch(root, tmp)
        for directory in (scratch.home, scratch.work, scratch.tmp):
            directory.mkdir(exist_ok=True)
        scratch.private_log.touch(mode=0o600)
    except OSError as error:
        raise WorkerSetupError(f"no room for the run's files: {error}") from error
    return scratch


def folds_in_flight(bundle: Path, n_jobs: int) -> int:
    """Tell how many folds of a submission run at a time.

    Parameters
    ----------
    bundle : Path
        The public half of the event's bundle.
    n_jobs : int
        The most that may.
    """
    n_folds = sum(1 for _ in (bundle / "folds").glob("fold_*.npz"))
    return max(1, min(n_jobs, n_folds))


def _threads_of_a_fold(bundle: Path, n_threads: int | None, n_jobs: int) -> int | None:
    return n_threads and max(1, n_threads // folds_in_flight(bundle, n_jobs))


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
        threads = _threads_of_a_fold(bundle, n_threads, n_jobs)
        return _environment(python, home, home, threads, ())

    return step_servers(
        python,
        "fold",
        scratch_dir,
        environment,
        ["--sandbox", json.dumps(sandbox)],
    )


def _environment(
    python: Path, home: Path, tmp: Path, n_threads: int | None, gpus: Sequence[str]
) -> dict[str, str]:
    """Give all environment variables of a process: none of ours, so no secrets."""
    environment = {
        "PATH": f"{python.parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "TMPDIR": str(tmp),
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the device nodes are numbered
    }
    prefix = python.parent.parent
    if (prefix / "conda-meta").is_dir():
        environment["CONDA_PREFIX"] = str(prefix)
    if n_threads is not None:
        environment |= dict.fromkeys(THREAD_VARIABLES, str(n_threads))
    return environment


def remove_tree(path: Path) -> None:
    """Remove what somebody else's code has written, as far as it can be; links are not followed.

    However deep it is: the standard library's way recurses, and so does not get far enough.
    """
    if path.is_symlink() or path.is_file():
        path.unlink()
    for _ in range(2):
        with contextlib.suppress(RecursionError):
            shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        with contextlib.suppress(OSError):
            _flatten(path)


def _flatten(path: Path) -> None:
    """Give us back the permission to change directories, and put all of them beside each other."""
    path.chmod(0o700)
    flat = Path(tempfile.mkdtemp(dir=path))
    waiting = [path]
    n_moved = 0
    while waiting:
        for directory in _directories(waiting.pop()):
            if directory == flat:
                continue
            with contextlib.suppress(OSError):
                directory.chmod(0o700)
                moved = directory.rename(flat / str(n_moved))
                waiting.append(moved)
                n_moved += 1


def _directories(path: Path) -> list[Path]:
    try:
        return [entry for entry in path.iterdir() if entry.is_dir() and not entry.is_symlink()]
    except OSError:
        return []
