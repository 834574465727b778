"""Notice that the head of a Ray cluster has died, before Ray ends this process for it."""

from __future__ import annotations

import select
import socket
import threading
import time

from ramp_engine.errors import WorkerSetupError
from ramp_engine.remote.ray.connection import Endpoint, session_of

__all__ = ["watch_head"]

#: A head may be away for so long, in seconds: one that keeps its state elsewhere comes back.
#: Ray itself gives up after 60 s, and ends the process.
GRACE_SECONDS = 10.0
_AGAIN_SECONDS = 1.0
_LOOK_MS = 500


def watch_head(endpoint: Endpoint, stopping: threading.Event) -> str | None:
    """Wait for the death of the head.

    A connection on which nothing is said ends with it, at once; the kernel's probes tell when the
    network is cut.

    Parameters
    ----------
    endpoint : Endpoint
    stopping : Event
        Ends the wait.

    Returns
    -------
    str or None
        What has happened; None: `stopping` was set.
    """
    session = None if endpoint.is_client else _session(endpoint)
    while not stopping.is_set():
        channel = _opened(endpoint, stopping)
        if channel is None:
            break
        with channel:
            if session is not None and _session(endpoint) not in (session, None):
                return f"the head at {endpoint} was started anew"
            _wait_for_end(channel, stopping)
    return None if stopping.is_set() else f"the head of the Ray cluster at {endpoint} is gone"


def _session(endpoint: Endpoint) -> bytes | None:
    """Give the session of the head; None: it does not say, so that we shall soon try again."""
    try:
        return session_of(endpoint)
    except WorkerSetupError:
        return None


def _opened(endpoint: Endpoint, stopping: threading.Event) -> socket.socket | None:
    """Connect; None when that fails for too long."""
    until = time.monotonic() + GRACE_SECONDS
    while not stopping.is_set():
        try:
            channel = endpoint.open()
        except OSError:
            if time.monotonic() > until:
                return None
            stopping.wait(_AGAIN_SECONDS)
            continue
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5)):
            channel.setsockopt(socket.IPPROTO_TCP, option, value)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        return channel
    return None


def _wait_for_end(channel: socket.socket, stopping: threading.Event) -> None:
    """Wait until the other side closes the connection, or the network is cut."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    while not stopping.is_set():
        if poll.poll(_LOOK_MS):
            try:
                if channel.recv(4096) == b"":  # a greeting of HTTP/2 comes before
                    return
            except OSError:
                return
