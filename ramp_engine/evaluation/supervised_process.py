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
from typing import IO, Optional

from . import supervise

#: How long a tree may take to end after it was told to, in seconds.
PATIENCE_SECONDS = 10.0


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
    OSError
        The machine refuses another process.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: IO[bytes],
        errors: Optional[IO[bytes]] = None,
        environment: Mapping[str, str],
        cwd: Optional[Path] = None,
        timeout_seconds: Optional[float] = None,
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
        except OSError:
            os.close(self._life_fd)
            raise
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
    def returncode(self) -> Optional[int]:
        """Exit code of the supervisor, 128 + the signal that ended it; None while it runs."""
        if not self._ended.is_set():
            return None
        code = self._process.returncode
        return code if code >= 0 else 128 - code

    @property
    def killed_by(self) -> Optional[signal.Signals]:
        """The signal that ended the supervisor itself, which is nobody's business."""
        code = self._process.returncode if self._ended.is_set() else 0
        return signal.Signals(-code) if code < 0 else None

    def wait(self, timeout_seconds: Optional[float] = None) -> bool:
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


def _supervised(command: Sequence[str], life_fd: int, options: Sequence[str]) -> list[str]:
    script = str(Path(supervise.__file__).absolute())
    return [
        *(sys.executable, "-I", "-S", script, "--life-fd", str(life_fd), *options, "--"),
        *map(str, command),
    ]
