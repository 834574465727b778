"""A child of a step server that is kept: it does one run after the other. For trusted steps only.

A fork of a warm process and its end cost more than many a score step. So a supervisor that a server
has forked, and its child, wait for another run when one is done. Whatever is not as it was before,
they end: a run that failed, was ended or has died, a process, a thread or an alarm that it has left
behind, an open file, memory. The next run then gets another runner, as each that runs beside others
does.

A runner's supervisor gets the requests of `server`, with their descriptors, on a socket of its own,
and says ``idle`` there before it tells the engine that a run has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, Optional

from . import runs, supervise

#: After so many runs a runner ends.
MAX_RUNS = 100
#: So many wait at most; what served a crowd ends.
MAX_IDLE = 2

_IDLE = b"idle"


class Runners:
    """The runners of a server.

    Parameters
    ----------
    poll : poll
        Tells of the descriptors in `places`, for `hear`.
    folder : Path
        Modules from there, those of the kit, are imported anew for each run.
    leave : callable
        Closes what a process that is forked must not hold.
    """

    def __init__(self, poll: select.poll, folder: Path, leave: Callable[[], None]) -> None:
        self.places: dict[int, socket.socket] = {}
        self._idle: list[socket.socket] = []
        self._poll = poll
        self._folder = folder
        self._leave = leave

    def give(self, message: bytes, descriptors: Sequence[int]) -> bool:
        """Have a run done; tell whether a process was forked for it."""
        while self._idle:
            runner = self._idle.pop()
            try:
                socket.send_fds(runner, [message], descriptors)
            except OSError:  # it was killed
                self._let_go(runner)
            else:
                return False
        runner = self._fork(descriptors)
        with contextlib.suppress(OSError):  # it has died; the engine hears the end of its channel
            socket.send_fds(runner, [message], descriptors)
        return True

    def _fork(self, descriptors: Sequence[int]) -> socket.socket:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        if os.fork() == 0:
            self._leave()
            for other in (ours, *self.places.values()):
                other.close()
            for descriptor in descriptors:
                os.close(descriptor)
            _stand_by(theirs, self._folder)
        theirs.close()
        self.places[ours.fileno()] = ours
        self._poll.register(ours, select.POLLIN)
        return ours

    def hear(self, place: int) -> None:
        """Learn that a runner is idle, or has ended."""
        runner = self.places[place]
        try:
            is_idle = runner.recv(len(_IDLE)) == _IDLE
        except OSError:
            is_idle = False
        if is_idle and len(self._idle) < MAX_IDLE:
            self._idle.append(runner)
        else:
            self._let_go(runner)

    def close(self) -> None:
        """Let all of them end, each after its run."""
        for runner in list(self.places.values()):
            self._let_go(runner)

    def _let_go(self, runner: socket.socket) -> None:
        self._poll.unregister(runner)
        del self.places[runner.fileno()]
        if runner in self._idle:
            self._idle.remove(runner)
        runner.close()


class _Runner(supervise.Supervisor):
    """The supervisor of a child that does one run after the other.

    Parameters
    ----------
    requests : socket
        To the server; between runs the life-line.
    folder : Path
        See `Runners`.
    """

    def __init__(self, requests: socket.socket, folder: Path) -> None:
        super().__init__(requests.fileno(), None)
        self._requests = requests
        self._aside = os.dup(2)
        self._child, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._is_clean = False

        def work() -> NoReturn:
            for other in (requests, self._child):
                other.close()
            runs.do_runs(theirs, folder)

        supervise.become_subreaper()
        self.start(work)
        theirs.close()
        self.poll.register(self._child, select.POLLIN)

    def stand_by(self) -> None:
        """Have runs done, until one leaves something behind."""
        for n_left in reversed(range(MAX_RUNS)):
            if not self._is_asked():
                return
            message, descriptors, _, _ = socket.recv_fds(self._requests, runs.MAX_MESSAGE, 2)
            if not message:
                return
            log, channel = descriptors
            self.poll.unregister(self._requests)
            if not is_wanted(channel):
                return  # what it would have used may be another's by now
            is_kept = self._run(message, log, channel, is_last=not n_left)
            if not is_kept:
                return
            self.poll.register(self._requests, select.POLLIN)

    def _is_asked(self) -> bool:
        """Wait while there is nothing to do; tell whether there is, or the server has gone."""
        while self.signal is None and self.reap() and self.code is None:
            for descriptor, _ in self.poll.poll():
                if descriptor == self._requests.fileno():
                    return True
                if descriptor == self.wake_fd:
                    os.read(self.wake_fd, 4096)
        return False

    def _run(self, message: bytes, log: int, channel: int, *, is_last: bool) -> bool:
        """Have one run done; tell whether another may follow."""
        runs.print_to(log)
        request = json.loads(message)
        self.watch_over(channel, request["timeout"])
        with contextlib.suppress(OSError):  # it has died: that is told by a signal
            socket.send_fds(self._child, [message], [log])
        os.close(log)
        code = self._watch()
        is_kept = not is_last and self._is_alone()
        if not is_kept:
            self._end(code, request["grace"], request["remove"])
        runs.print_to(self._aside)
        if is_kept:
            self._become_idle()
        with contextlib.suppress(OSError):  # nobody listens any more
            os.write(channel, f"{code}\n".encode())
        os.close(channel)
        return is_kept

    def _is_alone(self) -> bool:
        """Tell whether nothing is left of a run."""
        is_clean = self._is_clean and self.signal is None  # what it was told ends it even so
        return is_clean and list(supervise.descendants(os.getpid())) == [self.child]

    def _become_idle(self) -> None:
        self.poll.unregister(self.life_fd)
        self.code, self._is_clean = None, False
        with contextlib.suppress(OSError):  # the server has gone
            self._requests.send(_IDLE)

    def _wait(self, seconds: Optional[float]) -> None:
        super()._wait(seconds)
        with contextlib.suppress(BlockingIOError, ConnectionError, KeyError):
            said = self._child.recv(64, socket.MSG_DONTWAIT).decode().split()
            if said:
                self.code, self._is_clean = int(said[0]), said[1] == runs.CLEAN
            else:  # it dies, which is told by a signal; once is enough
                self.poll.unregister(self._child)


def _stand_by(requests: socket.socket, folder: Path) -> NoReturn:
    """Be the supervisor of a runner, in a process just forked."""
    try:
        os.setsid()
        _Runner(requests, folder).stand_by()
    except BaseException:  # noqa: BLE001 (the outermost frame of a process)
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            supervise.end_descendants()
        os._exit(0)


def is_wanted(channel: int) -> bool:
    """Tell the engine who is there; tell whether it still waits for that."""
    try:
        os.write(channel, f"{os.getpid()}\n".encode())
        return bool(os.read(channel, 1))
    except OSError:  # it has closed the channel
        return False
