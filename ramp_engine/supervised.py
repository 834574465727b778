"""Start a program under the supervisor, which ends its whole tree whatever dies."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Protocol

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import supervised_process
from ramp_engine.evaluation.supervised_process import PATIENCE_SECONDS

__all__ = ["PATIENCE_SECONDS", "RunningTree", "SupervisedProcess", "inherited_environment"]
__all__ += ["last_lines", "run_logged", "run_to_end"]

#: How often a program that may be stopped is looked at, in seconds.
STOP_SECONDS = 0.2


class SupervisedProcess(supervised_process.SupervisedProcess):
    """The same, whose start fails with an error of ours.

    Raises
    ------
    WorkerSetupError
        The machine refuses another process.
    """

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        try:
            super().__init__(command, **options)
        except OSError as error:
            raise WorkerSetupError(f"no process can be started: {error}") from error


class RunningTree(Protocol):
    """A program with everything that it starts, and a supervisor above it."""

    @property
    def returncode(self) -> int | None:
        """Exit code; None while it runs."""

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of the tree; tell whether it has come."""

    def end(self) -> bool:
        """End the tree and wait for it; tell whether it is gone. May be called again."""


def run_logged(
    command: Sequence[str],
    log_path: Path,
    *,
    timeout_seconds: float,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    errors_path: Path | None = None,
    stopping: threading.Event | None = None,
) -> int:
    """Run an installer or the like to its end, its output in a file.

    Parameters
    ----------
    command : sequence of str
    log_path : Path
        Replaced; its directory is made.
    timeout_seconds : float
    cwd : Path, optional
    variables : mapping of str, optional
        Set beside this process's own environment, from which PYTHON* and VIRTUAL_ENV are taken.
    errors_path : Path, optional
        Where stderr goes instead.
    stopping : Event, optional
        Ends it early when it is set.

    Returns
    -------
    int
        Its exit code; 124 when it took too long and was ended.

    Raises
    ------
    WorkerSetupError
        The log cannot be written, or the machine refuses another process.
    """
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(_opened(log_path))
        errors = None if errors_path is None else stack.enter_context(_opened(errors_path))
        process = SupervisedProcess(
            command,
            log=log,
            errors=errors,
            environment=inherited_environment() | dict(variables or {}),
            cwd=cwd,
            timeout_seconds=timeout_seconds,
        )
        return run_to_end(process, stopping)


def run_to_end(process: RunningTree, stopping: threading.Event | None = None) -> int:
    """Wait for the end of a program.

    Parameters
    ----------
    process : RunningTree
    stopping : Event, optional
        Ends it early when it is set.

    Returns
    -------
    int
        Its exit code; 124 when it took too long and was ended.
    """
    try:
        while not process.wait(None if stopping is None else STOP_SECONDS):
            if stopping is not None and stopping.is_set():
                process.end()
    finally:
        process.end()  # also when Ctrl-C ends the wait
    code = process.returncode
    return 1 if code is None else code


def inherited_environment() -> dict[str, str]:
    """Give the variables of this process, but those that are for its own Python."""
    hidden = ("PYTHON", "VIRTUAL_ENV")
    return {key: value for key, value in os.environ.items() if not key.startswith(hidden)}


def last_lines(path: Path, n_lines: int = 15) -> str:
    """Give the end of a log, for an error message; empty when there is none."""
    try:
        lines = path.read_text(errors="replace").rstrip().splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-n_lines:])


def _opened(path: Path) -> IO[bytes]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("wb")
    except OSError as error:
        raise WorkerSetupError(f"{path} cannot be written: {error}") from error
