"""The agent's process: one per folder, with no parent, which ends when nobody needs it.

It imports little before it answers: who starts it waits for that.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import socket
import struct
import sys
import threading
import time
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ramp_engine.remote.frames import FrameError, receive, send
from ramp_engine.remote.node.identity import Identity
from ramp_engine.remote.node.place import Place

if TYPE_CHECKING:
    from ramp_engine.remote.node.service import Service

__all__ = ["main"]

logger = logging.getLogger(__name__)

#: It ends when for so long there was neither a lease nor a fold nor a caller, in seconds.
IDLE_SECONDS = 5.0
#: Who has heard the last word may take so long to be gone, in seconds.
GOING_SECONDS = 2.0
#: Time between two looks, in seconds.
LOOK_SECONDS = 1.0
#: A caller that says nothing for so long is let go, in seconds.
REQUEST_SECONDS = 120.0
#: A longer log begins anew, in bytes.
MAX_LOG_BYTES = 2 << 20


def main(root: str) -> None:
    """Become the agent of a folder, unless there is one; print ``ready`` when it can be asked.

    Parameters
    ----------
    root : str
        The folder, which exists; see `ramp_engine.remote.node.place`.
    """
    folder = Path(root)
    place = Place(folder.parent.parent, folder)
    lock = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    listener = _listen(place)
    if os.fork() != 0:
        os.write(1, b"ready\n")
        os._exit(0)
    os.setsid()
    os.dup2(2, 1)
    os.umask(0o022)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whatever the engine's process has set
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    code = 1
    try:
        _Agent(place, listener).run()
        code = 0
    except Exception:  # the outermost loop of a process
        logger.exception("the agent ends: a bug")
    finally:
        logging.shutdown()
        os._exit(code)  # threads that still wait for somebody do not keep it


def _listen(place: Place) -> socket.socket:
    place.socket_path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)  # connecting needs the right to write
    try:
        with place.address() as address:
            listener.bind(address)
    finally:
        os.umask(before)
    listener.listen(128)
    return listener


class _Agent:
    def __init__(self, place: Place, listener: socket.socket) -> None:
        self._place = place
        self._listener = listener
        self._service: Future[Service] = Future()
        self._callers = 0
        self._change = threading.Condition()  # of the number of callers
        self._idle_since = time.monotonic()
        self._wakes = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._is_ending = False

    def run(self) -> None:
        """Answer until nobody needs it."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._note)
        threading.Thread(target=self._load, name="load", daemon=True).start()
        poll = select.poll()
        for descriptor in (self._listener.fileno(), self._wakes):
            poll.register(descriptor, select.POLLIN)
        while not self._is_ending:
            for descriptor, _ in poll.poll(LOOK_SECONDS * 1000):
                if descriptor == self._listener.fileno():
                    self._accept()
            self._look()
        self._end()

    def _note(self, *_: Any) -> None:
        self._is_ending = True
        os.eventfd_write(self._wakes, 1)

    def _may_end(self, n_callers: int, patience_seconds: float, is_replaced: bool = False) -> bool:
        """Decide to end, unless somebody needs it: from then on nobody comes in.

        Parameters
        ----------
        n_callers : int
            So many callers do not count: those who ask this.
        patience_seconds : float
            For those who are about to go.
        is_replaced : bool
            Whether another agent does for those who have a lease.
        """
        service = self._service.result()

        def is_free() -> bool:
            is_idle = not service.has_jobs if is_replaced else service.is_idle
            return self._callers <= n_callers and is_idle

        with self._change:
            is_wanted = bool(service.leases) and not is_replaced
            if is_wanted or not self._change.wait_for(is_free, patience_seconds):
                return False
            self._is_ending = True
            return True

    def _load(self) -> None:
        """Import what the work needs, while those who ask are greeted."""
        try:
            from ramp_engine.remote.node.dead_places import remove_dead
            from ramp_engine.remote.node.service import Service

            self._service.set_result(Service(self._place))
            remove_dead(self._place)
        except BaseException as error:
            if not self._service.done():
                self._service.set_exception(error)
            logger.exception("the agent cannot work")
            self._note()

    def _accept(self) -> None:
        try:
            channel, _ = self._listener.accept()
        except OSError as error:  # no descriptor left, or the caller is gone again
            logger.warning("a caller cannot be heard: %s", error)
            time.sleep(0.1)
            return
        with self._change:
            if self._is_ending or _uid_of(channel) not in (0, os.getuid()):
                channel.close()
                return
            self._callers += 1
        try:
            threading.Thread(target=self._serve, args=(channel,), daemon=True).start()
        except RuntimeError as error:  # no thread left: the folds of others go on
            logger.warning("a caller cannot be heard: %s", error)
            self._let_go(channel)

    def _let_go(self, channel: socket.socket) -> None:
        channel.close()
        with self._change:
            self._callers -= 1
            self._idle_since = time.monotonic()
            self._change.notify_all()

    def _serve(self, channel: socket.socket) -> None:
        is_last = False
        try:
            channel.settimeout(REQUEST_SECONDS)
            send(channel, {"pid": os.getpid(), **Identity.own()._asdict()})
            request = receive(channel)
            if request is not None:
                service = self._service.result()
                may_end = partial(self._may_end, 1, GOING_SECONDS)
                is_last = service.answer(channel, request, may_end)
        except (OSError, FrameError) as error:
            logger.info("a caller is gone: %s", error)
        except Exception as error:  # one request must not end the others
            logger.exception("a request has failed: a bug")
            _tell_bug(channel, error)
        if is_last:
            os.eventfd_write(self._wakes, 1)  # the channel stays open until this process has ended
            return
        self._let_go(channel)

    def _look(self) -> None:
        if not self._service.done() or self._service.exception() is not None:
            return
        service = self._service.result()
        service.look_after()
        self._trim_log()
        if self._callers or not service.is_idle:
            self._idle_since = time.monotonic()
        elif time.monotonic() - self._idle_since > IDLE_SECONDS:
            self._may_end(0, 0.0)

    def _trim_log(self) -> None:
        with contextlib.suppress(OSError):
            if self._place.log.stat().st_size > MAX_LOG_BYTES:
                os.truncate(self._place.log, 0)  # it is open for appending

    def _end(self) -> None:
        """Let nobody come in, and end everything."""
        self._place.socket_path.unlink(missing_ok=True)
        self._listener.close()
        if self._service.done() and self._service.exception() is None:
            self._service.result().close()
        sys.stderr.flush()


def _tell_bug(channel: socket.socket, error: Exception) -> None:
    """Say a last word, whatever was asked for."""
    message = f"a bug in the agent of the node: {error!r}"
    answer: dict[str, Any] = {"error": message, "message": message, "said": "ended", "how": "lost"}
    answer |= {"returncode": None, "result": None, "level": "", "kind": "", "parts": []}
    with contextlib.suppress(OSError):
        send(channel, answer | {"facts": {}})


def _uid_of(channel: socket.socket) -> int:
    size = struct.calcsize("3i")
    credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    return int(struct.unpack("3i", credentials)[1])
