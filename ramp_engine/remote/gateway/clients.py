"""The connections of dispatchers to a gateway: a reader and a writer thread for each."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ramp_engine.remote.frames import Frame, FrameError, receive, send

__all__ = ["Client", "Listener", "connect"]

logger = logging.getLogger(__name__)


class Client:
    """One connection.

    Parameters
    ----------
    channel : socket
    hear : callable
        Takes the client and each frame that comes, in the reader's thread.
    lose : callable
        Takes the client, once, when it is gone.
    """

    def __init__(
        self,
        channel: socket.socket,
        hear: Callable[[Client, Frame], None],
        lose: Callable[[Client], None],
    ) -> None:
        self._channel = channel
        self._hear, self._lose = hear, lose
        self._outbox: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="client-writer", daemon=True)
        self._reader = threading.Thread(target=self._read, name="client-reader", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._writer.start()
        self._reader.start()

    def send(self, header: dict[str, Any]) -> None:
        """Say something; never waits."""
        self._outbox.put(header)

    def close(self, patience_seconds: float = 5.0) -> None:
        """End the connection when all is said, or after so long."""
        self._outbox.put(None)
        self._writer.join(patience_seconds)
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def _write(self) -> None:
        while (header := self._outbox.get()) is not None:
            try:
                send(self._channel, header)
            except OSError:
                return

    def _read(self) -> None:
        try:
            while (frame := receive(self._channel)) is not None:
                self._hear(self, frame)
        except (OSError, FrameError) as error:
            logger.info("a connection broke: %s", error)
        finally:
            self._lose(self)
            self._outbox.put(None)
            with contextlib.suppress(OSError):
                self._channel.shutdown(socket.SHUT_RDWR)  # nobody hears the writer any more
            self._writer.join()
            self._channel.close()


class Listener:
    """Take further clients at a socket in a folder.

    Parameters
    ----------
    folder : Path
        Only its owner may enter it.
    take : callable
        Takes each new channel, in a thread of the listener.
    """

    def __init__(self, folder: Path, take: Callable[[socket.socket], None]) -> None:
        self._take = take
        self._socket = socket.socket(socket.AF_UNIX)
        with _short(folder / "socket") as address:
            self._socket.bind(address)
        self._socket.listen()
        threading.Thread(target=self._accept, name="listener", daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                channel, _ = self._socket.accept()
                self._take(channel)


def connect(path: Path) -> socket.socket:
    """Connect to a gateway.

    Raises
    ------
    OSError
        There is none.
    """
    channel = socket.socket(socket.AF_UNIX)
    try:
        with _short(path) as address:
            channel.connect(address)
    except BaseException:
        channel.close()
        raise
    return channel


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Give a name of a socket that is short enough for the kernel, within the block."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
