"""Step servers, seen from the engine: warm processes from which runs of a step are forked.

What they are and what is said to them is in `ramp_engine.evaluation.server`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ramp_engine import evaluation
from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.process_tree import resident
from ramp_engine.supervised import PATIENCE_SECONDS, SupervisedProcess, last_lines

__all__ = ["ServedProcess", "StepCall", "StepServer", "evaluation_command", "start_cold"]

#: How long a ready server may take to begin a run, in seconds.
START_SECONDS = 10.0
#: A server that so many runs were forked from is renewed.
MAX_RUNS = 500
#: So much more memory than when it was ready has a server renewed, in bytes.
MAX_GROWTH = 512 << 20

_MAX_MESSAGE = 1 << 17


@dataclass(frozen=True)
class StepCall:
    """One run of a step, however its process begins."""

    arguments: Sequence[str]  #: of the evaluation's command line, its name first
    log: IO[bytes]  #: for all that it prints
    environment: Mapping[str, str]  #: all variables
    cwd: Path
    timeout_seconds: float | None
    grace_seconds: float = 0.0
    remove_when_orphaned: Sequence[Path] = ()
    on_end: Callable[[], None] = lambda: None

    def to_message(self) -> bytes:
        """Give what a server is sent."""
        request = {
            "arguments": list(self.arguments),
            "environment": dict(self.environment),
            "cwd": str(self.cwd),
            "timeout": self.timeout_seconds,
            "grace": self.grace_seconds,
            "remove": [str(path) for path in self.remove_when_orphaned],
        }
        return json.dumps(request).encode()


class ServedProcess:
    """A run that was forked from a server, with everything that it starts.

    It is to its user what a `SupervisedProcess` is, and ends with this process as that does.

    Parameters
    ----------
    channel : socket
        To its supervisor; the life-line.
    pid : int
        Of the supervisor.
    on_end : callable
        Called once when the tree has ended, in a thread of its own.
    """

    def __init__(self, channel: socket.socket, pid: int, on_end: Callable[[], None]) -> None:
        self.pid = pid
        self._channel = channel
        self._on_end = on_end
        self._code: int | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._watch, name="served", daemon=True).start()

    def _watch(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._code = int(_read_line(self._channel))
        self._ended.set()
        self._on_end()

    @property
    def returncode(self) -> int | None:
        """Exit code of the supervisor, 128 + the signal that ended it; None while it runs."""
        if not self._ended.is_set():
            return None
        return 128 + signal.SIGKILL if self._code is None else self._code

    @property
    def killed_by(self) -> signal.Signals | None:
        """The signal that ended the supervisor itself: its last word has not come."""
        return signal.SIGKILL if self._ended.is_set() and self._code is None else None

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait for the end of the tree; tell whether it has come."""
        return self._ended.wait(timeout_seconds)

    def end(self, patience_seconds: float = PATIENCE_SECONDS) -> bool:
        """End the tree and wait for it; tell whether it is gone. May be called again."""
        with contextlib.suppress(OSError):  # it has ended, or was ended before
            if not self._ended.is_set():
                self._channel.send(b"end\n")
                os.kill(self.pid, signal.SIGCONT)
        if not self._ended.wait(patience_seconds):
            supervise.kill_descendants(self.pid)
            with contextlib.suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)
            self._ended.wait(patience_seconds)
        self._channel.close()
        return self._ended.is_set()


class StepServer:
    """One server, from its start to its end.

    Parameters
    ----------
    python : Path
        The event's interpreter.
    step : str
        ``fold`` or ``score``.
    bundle : Path
        The public half of the event's bundle.
    folder : Path
        Where it works and keeps its log; made.
    environment : mapping of str
        All its variables.
    options : sequence of str
        Further options of its command.

    Raises
    ------
    WorkerSetupError
        The machine refuses another process, or the disk a file.
    """

    def __init__(
        self,
        python: Path,
        step: str,
        bundle: Path,
        folder: Path,
        environment: Mapping[str, str],
        options: Sequence[str] = (),
    ) -> None:
        self._log_path = folder / "log"
        self._lock = threading.Lock()
        self._state = threading.Condition()
        self._modules: dict[str, int] = {}
        self._baseline = 0
        self._is_ready = self._has_failed = False
        self.n_runs = 0
        self._engine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            folder.mkdir()
            arguments = ["--step", step, "--bundle", str(bundle), *options]
            arguments += ["--socket", str(theirs.fileno())]
            arguments += ["--result", str(folder / "result.json")]
            with theirs, self._log_path.open("wb") as log:
                self._process = SupervisedProcess(
                    [*evaluation_command(python), "serve", *arguments],
                    log=log,
                    environment=environment,
                    cwd=folder,
                    pass_on=(theirs.fileno(),),
                )
        except OSError as error:
            self._engine.close()
            raise WorkerSetupError(f"no server can be started: {error}") from error
        threading.Thread(target=self._await_ready, name="step-server", daemon=True).start()

    def _await_ready(self) -> None:
        said: dict[str, Any] = {}
        with contextlib.suppress(OSError, ValueError):
            said = json.loads(self._engine.recv(_MAX_MESSAGE))
        with self._state:
            if said:
                self.pid = int(said["pid"])
                self._modules = _changed_at(said["paths"])
                self._baseline = resident(self.pid)
                self._is_ready = True
            else:
                self._has_failed = True
            self._state.notify_all()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is ready or has failed; tell whether it is ready."""
        with self._state:
            self._state.wait_for(lambda: self._is_ready or self._has_failed, timeout_seconds)
            return self._is_ready and not self.has_failed

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself."""
        return self._has_failed or self._process.returncode is not None

    @property
    def last_words(self) -> str:
        """The end of its log."""
        return last_lines(self._log_path, 3)

    def reason_to_renew(self) -> str:
        """Say why no more runs should be forked from it; empty: there is no reason."""
        if self._is_ready and _changed_at(self._modules) != self._modules:
            return "the event's environment has changed"
        if self.n_runs >= MAX_RUNS:
            return f"{self.n_runs} runs were forked from it"
        if self._is_ready and resident(self.pid) > self._baseline + MAX_GROWTH:
            return "it has grown"
        return ""

    def start(self, call: StepCall) -> ServedProcess | None:
        """Start a run; None when that failed: it has not begun, and never will."""
        ours, theirs = socket.socketpair()
        ours.settimeout(START_SECONDS)
        try:
            with theirs, self._lock:
                self._engine.settimeout(START_SECONDS)
                descriptors = [call.log.fileno(), theirs.fileno()]
                socket.send_fds(self._engine, [call.to_message()], descriptors)
            pid = int(_read_line(ours))
            ours.sendall(b"g")
        except (OSError, ValueError):
            ours.close()  # who is forked too late then does nothing
            return None
        ours.settimeout(None)
        self.n_runs += 1
        return ServedProcess(ours, pid, call.on_end)

    def retire(self) -> None:
        """Let it end after its last run."""
        with contextlib.suppress(OSError):  # it has been retired before
            self._engine.shutdown(socket.SHUT_RDWR)  # wakes who waits for it to be ready
        self._engine.close()

    def end(self) -> bool:
        """End it and all its runs; tell whether they are gone."""
        self.retire()
        return self._process.end()


def evaluation_command(python: Path) -> list[str]:
    """Give the command that runs a step, but for its name and options."""
    return [str(python), "-I", str(Path(evaluation.__path__[0]).absolute())]


def start_cold(python: Path, call: StepCall) -> SupervisedProcess:
    """Start a run in a process of its own.

    Parameters
    ----------
    python : Path
        The event's interpreter.
    call : StepCall

    Raises
    ------
    WorkerSetupError
        The machine refuses another process.
    """
    return SupervisedProcess(
        [*evaluation_command(python), *call.arguments],
        log=call.log,
        environment=call.environment,
        cwd=call.cwd,
        timeout_seconds=call.timeout_seconds,
        grace_seconds=call.grace_seconds,
        remove_when_orphaned=call.remove_when_orphaned,
        on_end=call.on_end,
    )


def _changed_at(paths: Sequence[str] | Mapping[str, int]) -> dict[str, int]:
    """Tell for each path when it was changed [ns]; 0 where there is nothing."""
    return {path: _mtime(path) for path in paths}


def _mtime(path: str) -> int:
    try:
        return Path(path).stat().st_mtime_ns
    except OSError:
        return 0


def _read_line(channel: socket.socket) -> bytes:
    """Read up to the end of a line; what comes is short.

    Raises
    ------
    OSError
        It takes too long, or the channel was reset.
    """
    line = b""
    while not line.endswith(b"\n"):
        data = channel.recv(1)
        if not data:
            break
        line += data
    return line
