"""One fold seen from its parent: forked, watched, released to the test data, ended as a whole.

The parent does all this in one loop, without threads: it forks.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Optional

from . import supervise
from .failure import KitError
from .limits import Excess
from .log_pump import LogPump
from .namespaces import MOUNTED
from .private import BEGUN, MAX_FACTS, TESTING, TRAINED, TRAINING
from .process_tree import ProcessTree
from .record import Record, RefusedReleaseError
from .starting import Pipes
from .stopping import StopSignal
from .watch import Watch

#: Time between two looks for the end of a process, where the kernel cannot tell of it [s].
_LOOK_SECONDS = 0.02
#: Of so much it is worth a look whether it is data of the bundle [MB].
_MUCH_MB = 64.0
#: What a fold says on its way to the test data.
_SCRIPT = BEGUN + TRAINING + TRAINED + TESTING


@dataclass(frozen=True)
class Ending:
    """What the parent knows of a fold that has ended, whatever the fold says."""

    status: int  #: wait status of the participant's process
    facts: bytes  #: what it has said after the release; not trusted
    is_released: bool  #: whether it could read the test data
    test_seconds: float  #: for how long it could
    refusal: str  #: why it was not released; empty: it was, or had not asked
    excess: Optional[Excess]  #: the limit for which it was ended
    peak_memory_mb: float  #: beyond what it shared with the parent
    is_stopped: bool = False  #: whether it was ended on request


class ForkedFold:
    """A fold that runs.

    Parameters
    ----------
    pid : int
        The child.
    pipes : Pipes
        The parent's ends are open, and closed by `tend`.
    pump : LogPump
        For what the fold prints.
    watch : Watch
        Over what it uses.
    tree : ProcessTree
        Made before the fork.
    record : Record
        Takes at the release what the fold has left by then.
    stop : StopSignal
        The wish that it ends early.
    """

    def __init__(
        self,
        pid: int,
        pipes: Pipes,
        pump: LogPump,
        watch: Watch,
        tree: ProcessTree,
        record: Record,
        stop: StopSignal,
    ) -> None:
        self._pid = pid
        self._pipes = pipes
        self._pump = pump
        self._watch = watch
        self._tree = tree
        self._stop = stop
        self._is_told_to_leave = False
        self._facts = b""
        self._answer = b""
        self._header = b""
        self._record = record
        self._taking: Optional[Generator[None, None, None]] = None  # until it is released
        self._n_before = 0  # what it had said when it asked for that [bytes]
        self._released_at: Optional[float] = None
        self._refusal = ""
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], bool]] = {}

    def tend(self, header: bytes) -> Ending:
        """Stand by the fold until it and all that it has started are gone.

        Parameters
        ----------
        header : bytes
            The first line of what is printed after the release.

        Raises
        ------
        KitError
            The fold could not be confined as asked, and has not run.
        ChildProcessError
            The fold failed before any code of the participant ran.
        OSError
            The disk refuses what is taken at the release.
        """
        self._header = header
        self._listen(self._pump.descriptor, self._pump.pump)
        self._listen(self._pipes.facts[0], self._hear_facts)
        self._listen(self._stop.descriptor, self._hear_stop)
        if self._tree.n_keepers:
            self._listen(self._pipes.control[0], self._hear_control)
        with contextlib.ExitStack() as stack:
            stack.callback(self._tree.close)
            stack.callback(self._pipes.close, 0)
            stack.callback(self._pump.drain)
            stack.callback(supervise.end_descendants)
            stack.callback(self._stop_taking)
            wakes = stack.enter_context(self._woken_at_end())
            excess, status, max_resident = self._wait(wakes)
            ended_at = time.monotonic()
            supervise.end_descendants()
            self._hear_facts()
            if excess is None and not self._stop.is_given:
                self._check_begun(status)
                self._check_released()
                excess = self._watch.look_back()
            return Ending(
                status=self._inner_status(status),
                facts=self._facts[self._n_before :],
                is_released=self._released_at is not None,
                test_seconds=ended_at - (self._released_at or ended_at),
                refusal=self._refusal,
                excess=excess,
                peak_memory_mb=max(self._watch.peak_memory_mb, self._own_mb(max_resident)),
                is_stopped=self._stop.is_given,
            )

    def _own_mb(self, max_resident_kb: int) -> float:
        """Return what the largest process had beyond what it shared with this one at first."""
        own = max_resident_kb / 1024 - self._tree.baseline / (1 << 20)
        if own > _MUCH_MB:
            own = max(_MUCH_MB, own - self._tree.absent_bytes() / (1 << 20))
        return max(0.0, own)

    def _listen(self, descriptor: int, handler: Callable[[], bool]) -> None:
        """Call a handler whenever there is something to read, until it tells that no more comes."""
        self._handlers[descriptor] = handler
        self._poll.register(descriptor, select.POLLIN)

    @contextlib.contextmanager
    def _woken_at_end(self) -> Iterator[bool]:
        """Have the loop wake up when the child ends; tell whether it will."""
        try:
            descriptor = os.pidfd_open(self._pid)
        except (AttributeError, OSError):  # Linux before 5.3, or a filter of system calls
            yield False
            return
        try:
            self._listen(descriptor, lambda: False)
            yield True
        finally:
            os.close(descriptor)

    def _wait(self, wakes: bool) -> tuple[Optional[Excess], int, int]:
        """Return the limit that is exceeded or None, the wait status, and the most memory [kB].

        Without a limit too the fold is ended when that is asked for.
        """
        while True:
            self._handle(self._patience(wakes))
            self._take()
            pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            if pid:
                return None, status, usage.ru_maxrss
            excess = self._watch.look() if self._watch.seconds_to_next() == 0 else None
            if excess is not None or self._refusal or self._stop.is_given:
                supervise.kill_descendants(os.getpid())
                _, status, usage = os.wait4(self._pid, 0)
                return excess, status, usage.ru_maxrss

    def _patience(self, wakes: bool) -> Optional[float]:
        if self._taking is not None:
            return 0.0
        seconds = self._watch.seconds_to_next()
        if wakes:
            return seconds
        return _LOOK_SECONDS if seconds is None else min(seconds, _LOOK_SECONDS)

    def _handle(self, seconds: Optional[float]) -> None:
        timeout = None if seconds is None else math.ceil(seconds * 1000)
        for descriptor, _ in self._poll.poll(timeout):
            if not self._handlers[descriptor]():
                self._poll.unregister(descriptor)

    def _hear_stop(self) -> bool:
        """Pass the wish to leave on to the participant's process, once; go on until it ends."""
        self._stop.hear()
        if self._stop.is_leaving and not self._is_told_to_leave:
            self._is_told_to_leave = True
            for pid in self._tree.theirs(self._tree.pids())[:1]:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGTERM)
        return True

    def _hear_facts(self) -> bool:
        """Take what the child says, as far as there is room for it."""
        room = MAX_FACTS - len(self._facts)
        os.set_blocking(self._pipes.facts[0], False)
        try:
            said = os.read(self._pipes.facts[0], room)
        except BlockingIOError:
            return True
        self._facts += said
        if said and not self._n_before:
            self._understand()
        return bool(said)

    def _understand(self) -> None:
        """Take note of how far the fold is; anything that makes no sense asks for the test data.

        A participant's code that says too early that it is done has made private what it prints,
        and has to have left the predictions.
        """
        if len(self._facts) < len(_SCRIPT) and _SCRIPT.startswith(self._facts):
            if self._facts == BEGUN + TRAINING + TRAINED:
                self._record.note("state.txt", "trained")
        elif self._facts.startswith(BEGUN + TRAINING):
            self._n_before = len(self._facts)
            self._pump.switch(self._header)
            self._taking = self._record.take_training()

    def _take(self) -> None:
        """Take a step of what is done before the release, if it was asked for."""
        if self._taking is None:
            return
        try:
            next(self._taking)
        except StopIteration:
            self._taking = None
            self._release()
        except RefusedReleaseError as error:
            self._taking = None
            self._refusal = str(error)

    def _stop_taking(self) -> None:
        if self._taking is not None:
            self._taking.close()  # what it has begun is removed

    def _release(self) -> None:
        self._record.note("state.txt", "validated")
        self._released_at = time.monotonic()
        if self._tree.n_keepers:
            _send(self._pipes.control[0], b"release\n")
        else:
            _send(self._pipes.go[0], b"g")

    def _hear_control(self) -> bool:
        """Learn where its files in memory are; let it go on when it has the test data in its."""
        try:
            with socket.socket(fileno=os.dup(self._pipes.control[0])) as control:
                said, places, _, _ = socket.recv_fds(control, MAX_FACTS, 2, socket.MSG_CMSG_CLOEXEC)
        except OSError:
            return False
        self._tree.count_files(places)
        self._answer += said
        if self._answer != MOUNTED + b"released\n":
            return bool(said)
        _send(self._pipes.go[0], b"g")
        return False

    def _check_released(self) -> None:
        told = self._answer[len(MOUNTED) :]
        if told.startswith(b"{"):  # pid 1 has told what was refused; nobody else can
            reason = json.loads(told)
            raise KitError(f"the fold cannot go on: {reason['message']}", reason["hint"])

    def _check_begun(self, status: int) -> None:
        """Raise what is ours: the fold has ended before any code of the participant ran."""
        if self._facts.startswith(BEGUN + TRAINING):
            return
        is_confined = self._facts.startswith(BEGUN)
        try:
            told = self._facts[len(BEGUN) if is_confined else 0 :].decode("utf-8", "replace")
            reason, _ = json.JSONDecoder().raw_decode(told)  # two processes may tell of the same
            message, hint = str(reason["message"]), str(reason["hint"])
        except (ValueError, TypeError, KeyError):
            code = os.waitstatus_to_exitcode(status)
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            message, hint = f"its process has died before, {how}", "The log may say why."
        if is_confined:
            raise ChildProcessError(f"the fold failed before the submission was begun: {message}")
        raise KitError(f"the fold cannot be confined: {message}", hint)

    def _inner_status(self, outer: int) -> int:
        """Return the wait status of the participant's process, as its pid 1 has told it."""
        if not self._tree.n_keepers:
            return outer
        os.set_blocking(self._pipes.status[0], False)
        try:
            raw = os.read(self._pipes.status[0], 4)
        except BlockingIOError:
            raw = b""
        return int.from_bytes(raw, sys.byteorder) if len(raw) == 4 else outer


def _send(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(OSError):  # the other side is gone: its end is told soon
        os.write(descriptor, data)
