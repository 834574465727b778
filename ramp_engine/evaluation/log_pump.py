"""What a fold prints, brought by the parent to where it belongs.

A fold's stdout and stderr are one pipe, and only the parent has the logs open. Whatever
descriptors the participant's code has copied, and whatever thread or process it has left behind:
all lead into this pipe, and nothing that comes through it after the release of the test data
reaches the public log.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Optional, Union

#: What is read at once, and in one turn of the parent's loop [bytes].
_CHUNK, _TURN = 1 << 16, 1 << 20
#: What a pipe can hold at most, for a user who is not root [bytes].
_CAPACITY = 1 << 20


class Log:
    """A log of which the head and the tail are kept.

    The head is written at once, the tail by `finish`. What is between costs neither disk nor
    memory.

    Parameters
    ----------
    target : int or Path
        A descriptor, or a file, which is opened for each write so that no fork inherits it.
    max_bytes : int or None
        Size of the log [bytes]; None: without limit.

    Notes
    -----
    A full disk costs lines of the log, never the fold.
    """

    def __init__(self, target: Union[int, Path], max_bytes: Optional[int] = None) -> None:
        self._target = target
        self._half = None if max_bytes is None else max_bytes // 2
        self._n_head = 0
        self._n_left_out = 0
        self._tail = bytearray()

    def write(self, data: bytes) -> None:
        """Take more of the log."""
        if self._half is None:
            self._append(data)
            return
        room = max(0, self._half - self._n_head)
        if room:
            self._append(data[:room])
            self._n_head += len(data[:room])
        self._tail += data[room:]
        if len(self._tail) > 2 * self._half:
            self._shorten(self._half)

    def leave_out(self, n_bytes: int) -> None:
        """Count what came next as left out, and with it what would have been the tail so far."""
        self._n_left_out += n_bytes + len(self._tail)
        self._tail.clear()

    def finish(self) -> None:
        """Write the tail. May be called again."""
        self._shorten(self._half or 0)
        if self._n_left_out:
            self._append(b"\n[... %d bytes left out ...]\n" % self._n_left_out)
        self._append(bytes(self._tail))
        self._tail.clear()
        self._n_left_out = 0

    def _shorten(self, n_bytes: int) -> None:
        surplus = max(0, len(self._tail) - n_bytes)
        del self._tail[:surplus]
        self._n_left_out += surplus

    def _append(self, data: bytes) -> None:
        if not data:
            return
        try:
            if isinstance(self._target, int):
                _write_all(self._target, data)
                return
            descriptor = open_private(self._target)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
        except OSError:
            self._n_left_out += len(data)


@dataclass(frozen=True)
class Logs:
    """The logs of one run."""

    public: Log
    private: Log

    def say(self, text: str) -> None:
        """Say something to participants."""
        self.public.write(text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        """Write what is left of both. May be called again."""
        self.public.finish()
        self.private.finish()


def open_private(path: Path) -> int:
    """Open a log for organisers only, mode 0600, following no link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


class LogPump:
    """The way from one fold's pipe to the logs.

    Parameters
    ----------
    descriptor : int
        The reading end; made non-blocking.
    public : Log
        Where all goes at first.
    private : Log
        Where all goes after `switch`, for good.
    """

    def __init__(self, descriptor: int, public: Log, private: Log) -> None:
        os.set_blocking(descriptor, False)
        self.descriptor = descriptor
        self._log = public
        self._private = private

    def pump(self, n_bytes: int = _TURN) -> bool:
        """Bring on what there is; tell whether more can come.

        Parameters
        ----------
        n_bytes : int
            So much in this turn: one that prints without end must not hold up the parent.
        """
        while n_bytes > 0:
            try:
                data = os.read(self.descriptor, min(n_bytes, _CHUNK))
            except BlockingIOError:
                return True
            if not data:
                return False
            self._log.write(data)
            n_bytes -= len(data)
        return True

    def switch(self, header: bytes) -> None:
        """Send all that is printed from now on to the private log.

        Called before the test data can be read: what is in the pipe by now holds none of them.
        """
        self.pump(_CAPACITY)
        self._log = self._private
        self._log.write(header)

    def drain(self) -> None:
        """Bring on what the fold has left in the pipe; called when all its processes are gone."""
        self.pump(2 * _CAPACITY)
