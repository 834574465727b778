"""The connection of a fold: what its caller is told, and whether there still is a caller."""

from __future__ import annotations

import os
import select
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ramp_engine.remote.frames import send, send_files

__all__ = ["Caller", "CallerGoneError"]

#: A caller that takes nothing for so long is gone, in seconds.
SEND_SECONDS = 120.0


class CallerGoneError(Exception):
    """Nobody waits for the fold any more."""


class Caller:
    """One who has asked for a fold; closed by `close`.

    Parameters
    ----------
    channel : socket
        Its connection, on which it says nothing more: an end of file is its death.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.settimeout(SEND_SECONDS)
        self._wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wakes, select.POLLIN)
        self._poll.register(channel, select.POLLIN | select.POLLRDHUP)
        self._closing = threading.Lock()
        self._is_closed = False

    def wake(self) -> None:
        """End a `wait`, the one under way or the next. From any thread."""
        with self._closing:
            if not self._is_closed:
                os.eventfd_write(self._wakes, 1)

    def wait(self, seconds: float) -> None:
        """Wait till `wake`, or so long.

        Raises
        ------
        CallerGoneError
            The caller has died.
        """
        for descriptor, _ in self._poll.poll(max(0.0, seconds) * 1000):
            if descriptor != self._wakes:
                raise CallerGoneError
            with suppress(BlockingIOError):
                os.eventfd_read(self._wakes)

    def say(self, said: str, payload: bytes = b"", **more: Any) -> None:
        """Tell the caller something.

        Raises
        ------
        CallerGoneError
            The caller has died.
        """
        try:
            send(self._channel, {"said": said, **more}, payload)
        except OSError as error:
            raise CallerGoneError from error

    def say_last(self, header: Mapping[str, Any], files: Mapping[str, tuple[Path, int]]) -> None:
        """Say the last word, with files, which are read while they are sent.

        Parameters
        ----------
        header : mapping
        files : mapping
            For each name the file and its size [bytes].

        Raises
        ------
        CallerGoneError
            The caller has died, or a file cannot be read.
        """
        parts = [[name, size] for name, (_, size) in files.items()]
        try:
            send_files(self._channel, {"said": "ended", **header, "parts": parts}, files.values())
        except OSError as error:
            raise CallerGoneError from error

    def close(self) -> None:
        """Let go of what it needs; `wake` does nothing then."""
        with self._closing:
            self._is_closed = True
            os.close(self._wakes)
