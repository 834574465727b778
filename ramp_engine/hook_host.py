"""The hook process, seen from the dispatcher: started, asked with a time limit, ended."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import socket
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.errors import HookError, WorkerSetupError
from ramp_engine.supervised import SupervisedProcess

__all__ = ["HookHost", "HookLostError"]

#: What may be printed during one question, in bytes.
MAX_OUTPUT = 1 << 20
#: The end of it that is kept for the log, in bytes.
KEPT_OUTPUT = 2000
_MAX_ANSWER = 1 << 20
_CHUNK = 1 << 16
#: Time between the end of the process and its exit code, in seconds.
_LAST_WORD_SECONDS = 1.0


class HookLostError(HookError):
    """The hook process does not answer, or is gone: it is to be ended, and started anew."""


class HookHost:
    """One hook process, with everything that it starts, from its start to its end.

    The process tree ends with this process, in whatever way that dies. One thread asks; any may
    call `end`.

    Parameters
    ----------
    directory : Path
        The event's folder.

    Raises
    ------
    HookLostError
        The machine refuses another process.
    """

    def __init__(self, directory: Path) -> None:
        self._ending = threading.Lock()
        self._has_ended = False
        self._said = b""
        self._n_said = 0
        self._selector = selectors.DefaultSelector()
        self._link, theirs = socket.socketpair()
        self._output_fd, output = os.pipe()
        with theirs, open(output, "wb") as log:  # noqa: PTH123  a descriptor has no path
            self._process = self._start(theirs.fileno(), directory, log)
        for fd in (self._link, self._output_fd):
            os.set_blocking(fd if isinstance(fd, int) else fd.fileno(), False)
            self._selector.register(fd, selectors.EVENT_READ)

    def _start(self, fd: int, directory: Path, log: Any) -> SupervisedProcess:
        # -P: modules come from where this process has them from, never from the event's folder
        command = [sys.executable, "-P", "-m", "ramp_engine.hook_process", str(fd), str(directory)]
        try:
            return SupervisedProcess(command, log=log, environment=os.environ, pass_on=[fd])
        except WorkerSetupError as error:
            self._link.close()
            os.close(self._output_fd)
            raise HookLostError(str(error)) from error

    @property
    def output(self) -> str:
        """The end of what was printed since the last question was asked."""
        return self._said.decode("utf-8", "backslashreplace").strip()

    def ask(self, question: Mapping[str, Any], timeout_seconds: float) -> dict[str, Any]:
        """Ask the process something.

        Parameters
        ----------
        question : mapping
            See `ramp_engine.hook_process`.
        timeout_seconds : float
            So long the answer may take.

        Raises
        ------
        HookLostError
            There is none in time, or the process has ended.
        """
        self._said, self._n_said = b"", 0
        try:
            answer = self._exchange(json.dumps(question, default=str).encode(), timeout_seconds)
        except (OSError, ValueError) as error:
            raise HookLostError("the hook process has ended") from error
        finally:
            with contextlib.suppress(HookLostError, OSError):
                self._listen()
        told: dict[str, Any] = answer
        return told

    def _exchange(self, question: bytes, timeout_seconds: float) -> Any:
        """Send a line and receive one; what is printed meanwhile is taken as well."""
        rest, answer = memoryview(question + b"\n"), b""
        deadline = time.monotonic() + timeout_seconds
        self._selector.modify(self._link, selectors.EVENT_READ | selectors.EVENT_WRITE)
        while not answer.endswith(b"\n"):
            events = self._selector.select(max(0.0, deadline - time.monotonic()))
            if time.monotonic() >= deadline:
                raise HookLostError(f"no answer after {timeout_seconds:g} s")
            for key, mask in events:
                if key.fileobj is not self._link:
                    self._listen()
                    continue
                if mask & selectors.EVENT_WRITE:
                    rest = rest[self._link.send(rest) :]
                    if not rest:
                        self._selector.modify(self._link, selectors.EVENT_READ)
                if mask & selectors.EVENT_READ:
                    answer += self._receive(len(answer))
        return json.loads(answer)

    def _receive(self, n_received: int) -> bytes:
        chunk = self._link.recv(_CHUNK)
        if not chunk:
            self._process.wait(_LAST_WORD_SECONDS)
            code = self._process.returncode
            told = "" if code is None else f" with exit code {code}"
            raise HookLostError(f"the hook process has ended{told}")
        if n_received + len(chunk) > _MAX_ANSWER:
            raise HookLostError("the hook process answers too much")
        return chunk

    def _listen(self) -> None:
        """Take what was printed, and keep the end of it."""
        while self._output_fd in self._selector.get_map():
            try:
                chunk = os.read(self._output_fd, _CHUNK)
            except BlockingIOError:
                return
            if not chunk:
                self._selector.unregister(self._output_fd)
            self._n_said += len(chunk)
            self._said = (self._said + chunk)[-KEPT_OUTPUT:]
            if self._n_said > MAX_OUTPUT:
                raise HookLostError(f"it prints more than {MAX_OUTPUT >> 20} MB")

    def end(self) -> None:
        """End the process and all that it has started; a question under way has no answer then."""
        with self._ending:
            if not self._has_ended:
                self._has_ended = True
                self._process.end()

    def close(self) -> None:
        """End the process, and release what this one holds of it; nothing is asked afterwards."""
        self.end()
        self._selector.close()
        self._link.close()
        os.close(self._output_fd)
