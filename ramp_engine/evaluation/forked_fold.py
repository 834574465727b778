"""One fold seen from its parent: forked, watched, released to the test data, ended as a whole.

The parent does all this in one loop, without threads: it forks.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Optional

from . import supervise
from .failure import KitError
from .limits import Excess
from .log_pump import LogPump
from .private import BEGUN, MAX_FACTS, TESTING
from .process_tree import ProcessTree
from .starting import Pipes
from .stopping import StopSignal
from .watch import Watch

#: Time between two looks for the end of a process, where the kernel cannot tell of it [s].
_LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Ending:
    """What the parent knows of a fold that has ended, whatever the fold says."""

    status: int  #: wait status of the participant's process
    facts: bytes  #: what it has said after the release; not trusted
    is_released: bool  #: whether it could read the test data
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
        stop: StopSignal,
    ) -> None:
        self._pid = pid
        self._pipes = pipes
        self._pump = pump
        self._watch = watch
        self._tree = tree
        self._stop = stop
        self._facts = b""
        self._answer = b""
        self._is_released = False
        self._header = b""
        self._at_release: Callable[[], None] = lambda: None
        self._poll = select.poll()
        self._handlers: dict[int, Callable[[], bool]] = {}

    def tend(self, header: bytes, at_release: Callable[[], None]) -> Ending:
        """Stand by the fold until it and all that it has started are gone.

        Parameters
        ----------
        header : bytes
            The first line of what is printed after the release.
        at_release : callable
            Called when the participant's code says it has trained, before it sees the test data.

        Raises
        ------
        KitError
            The fold could not be confined as asked, and has not run.
        """
        self._header, self._at_release = header, at_release
        self._listen(self._pump.descriptor, self._pump.pump)
        self._listen(self._pipes.facts[0], self._hear_facts)
        self._listen(self._stop.descriptor, lambda: False)
        with contextlib.ExitStack() as stack:
            stack.callback(self._pipes.close, 0)
            stack.callback(self._pump.drain)
            stack.callback(supervise.end_descendants)
            wakes = stack.enter_context(self._woken_at_end())
            excess, status, max_resident = self._wait(wakes)
            supervise.end_descendants()
            self._hear_facts()
            if excess is None and not self._stop.is_given:
                self._check_begun()
                excess = self._watch.look_back()
            return Ending(
                status=self._inner_status(status),
                facts=self._facts[len(BEGUN + TESTING) :],
                is_released=self._is_released,
                excess=excess,
                peak_memory_mb=max(self._watch.peak_memory_mb, self._own_mb(max_resident)),
                is_stopped=self._stop.is_given,
            )

    def _own_mb(self, max_resident_kb: int) -> float:
        """Return what the largest process had beyond what it shared with this one at first."""
        return max(0.0, max_resident_kb / 1024 - self._tree.baseline / (1 << 20))

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
            pid, status, usage = os.wait4(self._pid, os.WNOHANG)
            if pid:
                return None, status, usage.ru_maxrss
            excess = self._watch.look() if self._watch.seconds_to_next() == 0 else None
            if excess is not None or self._stop.is_given:
                supervise.kill_descendants(os.getpid())
                _, status, usage = os.wait4(self._pid, 0)
                return excess, status, usage.ru_maxrss

    def _patience(self, wakes: bool) -> Optional[float]:
        seconds = self._watch.seconds_to_next()
        if wakes:
            return seconds
        return _LOOK_SECONDS if seconds is None else min(seconds, _LOOK_SECONDS)

    def _handle(self, seconds: Optional[float]) -> None:
        timeout = None if seconds is None else math.ceil(seconds * 1000)
        for descriptor, _ in self._poll.poll(timeout):
            if not self._handlers[descriptor]():
                self._poll.unregister(descriptor)

    def _hear_facts(self) -> bool:
        """Take what the child says, as far as there is room for it."""
        room = MAX_FACTS - len(self._facts)
        os.set_blocking(self._pipes.facts[0], False)
        try:
            said = os.read(self._pipes.facts[0], room)
        except BlockingIOError:
            return True
        self._facts += said
        if not self._is_released and self._says_trained():
            self._release()
        return bool(said)

    def _says_trained(self) -> bool:
        """Tell whether the fold is done with training; anything that makes no sense means so too.

        A participant's code that says so too early has only made private what it prints.
        """
        said = self._facts[len(BEGUN) :]
        is_beginning = len(said) < len(TESTING) and TESTING.startswith(said)
        return self._facts.startswith(BEGUN) and not is_beginning

    def _release(self) -> None:
        self._pump.switch(self._header)
        self._at_release()
        self._is_released = True
        if self._tree.n_keepers:
            self._listen(self._pipes.control[0], self._hear_control)
            _send(self._pipes.control[0], b"release\n")
        else:
            _send(self._pipes.go[0], b"g")

    def _hear_control(self) -> bool:
        """Let the fold go on when the test data have appeared in its file system."""
        try:
            said = os.read(self._pipes.control[0], 64)
        except OSError:
            return False
        self._answer += said
        if self._answer != b"released\n":
            return bool(said)
        _send(self._pipes.go[0], b"g")
        return False

    def _check_begun(self) -> None:
        if self._facts.startswith(BEGUN):
            return
        try:
            reason = json.loads(self._facts)
            message, hint = str(reason["message"]), str(reason["hint"])
        except (ValueError, TypeError, KeyError):
            message, hint = "its process has died before", "The log may say why."
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
