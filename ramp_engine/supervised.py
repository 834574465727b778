"""Start a program under the supervisor, which ends its whole tree whatever dies."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import supervise

__all__ = ["RunningTree", "SupervisedProcess", "inherited_environment", "last_lines"]
__all__ += ["run_logged", "run_to_end"]

#: How long a tree may take to end after it was told to, in seconds.
PATIENCE_SECONDS = 10.0
#: How often a program that may be stopped is looked at, in seconds.
STOP_SECONDS = 0.2


class SupervisedProcess:
    """A program, everything that it starts, and the supervisor above them.

    The tree also ends when this process dies, however that happens: it holds the only end of the
    supervisor's life-line, and no other child inherits it.

    Parameters
    ----------
    command : sequence of str
    log : file
        Where stdout and stderr go. A file and never a pipe, which an unread log would block.
    errors : file, optional
        Where stderr goes instead.
    environment : mapping of str
        All environment variables of the tree.
    cwd : Path, optional
    timeout_seconds : float, optional
        Time limit of the whole tree.
    grace_seconds : float
        How long the program may take to finish its logs after SIGTERM, at the time limit and on
        `end`, before the tree is killed; 0: it gets no signal but SIGKILL.
    remove_when_orphaned : sequence of Path
        Directories that the supervisor removes when this process has died before the tree.
    pass_on : sequence of int
        File descriptors that the tree inherits.
    on_end : callable
        Called once when the tree has ended, in a thread of its own.

    Raises
    ------
    WorkerSetupError
        The machine refuses another process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: IO[bytes],
        errors: IO[bytes] | None = None,
        environment: Mapping[str, str],
        cwd: Path | None = None,
        timeout_seconds: float | None = None,
        grace_seconds: float = 0.0,
        remove_when_orphaned: Sequence[Path] = (),
        pass_on: Sequence[int] = (),
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self._ended = threading.Event()
        self._on_end = on_end
        theirs, self._life_fd = os.pipe()
        options = [] if timeout_seconds is None else ["--timeout", repr(float(timeout_seconds))]
        options += ["--grace", repr(float(grace_seconds))] if grace_seconds else []
        options += [word for path in remove_when_orphaned for word in ("--remove", str(path))]
        try:
            self._process = subprocess.Popen(
                _supervised(command, theirs, options),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if errors is None else errors,
                env=dict(environment),
                cwd=cwd,
                pass_fds=(theirs, *pass_on),
                start_new_session=True,
            )
        except OSError as error:
            os.close(self._life_fd)
            raise WorkerSetupError(f"no process can be started: {error}") from error
        finally:
            os.close(theirs)
        threading.Thread(target=self._watch, name="supervised", daemon=True).start()

    def _watch(self) -> None:
        self._process.wait()
        self._ended.set()
        self._on_end()

    @property
    def pid(self) -> int:
        """Pid of the supervisor."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Exit code of the supervisor, 128 + the signal that ended it; None while it runs."""
        if not self._ended.is_set():
            return None
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    @property
    def killed_by(self) -> signal.Signals | None:
        """The signal that ended the supervisor itself, which is nobody's business."""
        code = self._process.returncode if self._ended.is_set() else 0
        return signal.Signals(-code) if code < 0 else None

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of the tree; tell whether it has come."""
        return self._ended.wait(timeout_seconds)

    def end(self, patience_seconds: float = PATIENCE_SECONDS) -> bool:
        """End the tree and wait for it; tell whether it is gone. May be called again."""
        if not self._ended.is_set():
            self._send(signal.SIGTERM)
            self._send(signal.SIGCONT)
        if not self._ended.wait(patience_seconds):
            supervise.kill_descendants(self.pid)
            self._send(signal.SIGKILL)
            self._ended.wait(patience_seconds)
        if self._life_fd >= 0:
            os.close(self._life_fd)
            self._life_fd = -1
        return self._ended.is_set()

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


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


def _supervised(command: Sequence[str], life_fd: int, options: Sequence[str]) -> list[str]:
    script = str(Path(supervise.__file__).absolute())
    return [
        *(sys.executable, "-I", "-S", script, "--life-fd", str(life_fd), *options, "--"),
        *map(str, command),
    ]
