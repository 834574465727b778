"""A dispatcher's connection to a gateway."""

from __future__ import annotations

import contextlib
import itertools
import logging
import socket
import struct
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from pathlib import Path
from typing import Any

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.frames import FrameError, receive, send

__all__ = ["GatewayConnection", "Listener"]

logger = logging.getLogger(__name__)

#: How long an answer may take that needs nobody else, in seconds.
ANSWER_SECONDS = 60.0

Listener = Callable[[dict[str, Any]], None]


class GatewayConnection:
    """Ask a gateway, and hear of runs; one thread reads.

    Parameters
    ----------
    channel : socket
    path : Path
        Where other dispatchers of this machine find the gateway.
    on_said : callable
        Takes what is said of no run.
    on_lost : callable
        Takes this connection, once, when it is gone and all runs have been told.
    """

    def __init__(
        self,
        channel: socket.socket,
        path: Path,
        on_said: Listener,
        on_lost: Callable[[GatewayConnection], None],
    ) -> None:
        self._channel, self.path = channel, path
        wait = struct.pack("ll", int(ANSWER_SECONDS), 0)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, wait)
        self._on_said, self._on_lost = on_said, on_lost
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._listeners: dict[str, Listener] = {}
        #: Why it was lost, in the gateway's own words; empty when it said nothing.
        self.last_words = ""
        self.is_lost = False
        self._reader = threading.Thread(target=self._read, name="gateway", daemon=True)
        self._reader.start()

    def listen(self, run: str, listener: Listener) -> None:
        """Have a run's listener told what becomes of it; called in the reader's thread."""
        with self._lock:
            self._listeners[run] = listener
            is_lost = self.is_lost
        if is_lost:
            self._tell_lost([listener])

    def ignore(self, run: str, listener: Listener) -> int:
        """Tell a listener no more; give the number of runs that are listened to."""
        with self._lock:
            if self._listeners.get(run) == listener:  # and not that of who took the run over
                del self._listeners[run]
            return len(self._listeners)

    def ask(self, op: str, timeout_seconds: float = ANSWER_SECONDS, **more: Any) -> dict[str, Any]:
        """Ask, and wait for the answer.

        Raises
        ------
        WorkerLostError
            The gateway is gone, or does not answer in time.
        """
        number, future = next(self._numbers), Future[dict[str, Any]]()
        with self._lock:
            if self.is_lost:
                raise WorkerLostError("the gateway to the cluster is gone")
            self._answers[number] = future
        try:
            with self._sending:
                send(self._channel, {"op": op, "id": number, **more})
            return future.result(timeout_seconds)
        except FutureTimeoutError as error:
            reason = f"the gateway to the cluster has not answered in {timeout_seconds:g} s"
            raise WorkerLostError(reason) from error
        except OSError as error:
            self.close()
            raise WorkerLostError(f"the gateway to the cluster does not hear: {error}") from error
        finally:
            with self._lock:
                self._answers.pop(number, None)

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)

    def _read(self) -> None:
        try:
            while (frame := receive(self._channel)) is not None:
                self._hear(frame.header)
        except (OSError, FrameError) as error:
            logger.info("the connection to the gateway broke: %s", error)
        with self._lock:
            self.is_lost = True
            listeners, answers = list(self._listeners.values()), list(self._answers.values())
            self._answers.clear()
        for future in answers:
            future.set_exception(WorkerLostError("the gateway to the cluster is gone"))
        self._tell_lost(listeners)
        self._channel.close()
        self._on_lost(self)

    def _tell_lost(self, listeners: list[Listener]) -> None:
        reason = self.last_words or "the gateway to the cluster has died"
        for listener in listeners:
            listener({"said": "ended", "how": "interrupted", "message": reason})

    def _hear(self, header: dict[str, Any]) -> None:
        with self._lock:
            # taken out: it must not be answered twice when the gateway is gone a moment later
            future = self._answers.pop(header.get("answer", 0), None)
            listener = self._listeners.get(header.get("run", ""))
        if future is not None:
            future.set_result(header)
        elif listener is not None:
            listener(header)
        elif header.get("said") == "failed":
            self.last_words = str(header.get("reason", ""))
        elif "said" in header and "run" not in header:
            self._on_said(header)
