"""Run a command, and end everything that it started, whatever dies.

::

    python -I -S supervise.py --life-fd N [--timeout SECONDS] [--grace SECONDS] [--remove DIR ...]
        -- COMMAND ...

The supervisor is the subreaper of the command: what double-forks and calls ``setsid`` stays below
it. The whole tree is ended when

* the command ends: the exit code is the command's, or 128 + the signal that ended it;
* SECONDS have passed: 124;
* the supervisor gets SIGTERM, SIGINT or SIGHUP: 128 + the signal; something written to the other
  end of N is the same as SIGTERM;
* the other end of the pipe or socket N is closed, as it is when the process that holds it dies in
  whatever way: 137. Nobody else will then tidy up: each DIR is removed.

With ``--grace`` the command itself, and nothing below it, first gets SIGTERM when time is up or a
signal has come, and so many seconds to end by itself: it can then finish its logs. Nothing that the
tree does makes that longer, and an end of file on N ends it.

It leaves neither a process nor a zombie, and writes nothing to stdout. It needs Linux and the
standard library of Python 3.9 or later, and is run as a file, by any interpreter.

References
----------
prctl(2), PR_SET_CHILD_SUBREAPER; proc(5), ``/proc/PID/task/TID/children``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from types import FrameType

__all__ = [
    "EXIT_LIFELINE_CUT",
    "EXIT_TIMEOUT",
    "become_subreaper",
    "descendants",
    "end_descendants",
    "end_orphans",
    "ending_what_begins",
    "kill_descendants",
    "main",
]

EXIT_TIMEOUT = 124
EXIT_CANNOT_START = 127
EXIT_LIFELINE_CUT = 137

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_WALL = 0x40000000  # wait for children of every kind, as made by clone(2)
_ENDING_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_PROC = Path("/proc")


def main(arguments: Sequence[str] | None = None) -> int:
    """Supervise one command.

    Parameters
    ----------
    arguments : sequence of str, optional
        Default: the command line's.

    Returns
    -------
    int
        The exit code.
    """
    options = _parse(arguments)
    os.set_inheritable(options.life_fd, False)
    supervisor = Supervisor(options.life_fd, options.timeout)
    return supervisor.run(lambda: _execute(options.command), options.grace, options.remove)


class Supervisor:
    """The watch over one command.

    Parameters
    ----------
    life_fd : int
        End of file on it ends the tree.
    timeout_seconds : float or None
        Time limit from now.
    """

    def __init__(self, life_fd: int, timeout_seconds: float | None) -> None:
        self.child: int | None = None
        self.code: int | None = None
        self.signal: int | None = None
        self.wake_fd = self._catch_signals()
        self.poll = select.poll()
        self.poll.register(self.wake_fd, select.POLLIN)
        self.watch_over(life_fd, timeout_seconds)

    def watch_over(self, life_fd: int, timeout_seconds: float | None) -> None:
        """Begin to watch a run, see the parameters of the class."""
        self.is_cut = False
        self.timeout_seconds = timeout_seconds
        self.started_at = time.monotonic()
        self.life_fd = life_fd
        self.poll.register(life_fd, select.POLLIN)

    def _catch_signals(self) -> int:
        """Turn signals into bytes on a pipe; give its reading end."""
        reader, writer = os.pipe()
        os.set_blocking(reader, False)
        os.set_blocking(writer, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *_ENDING_SIGNALS):
            signal.signal(number, self._note)
        return reader

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number in _ENDING_SIGNALS and self.signal is None:
            self.signal = number

    def run(self, work: Callable[[], None], grace_seconds: float, remove: Sequence[str]) -> int:
        """Have something done in a child, until it or the reason for it ends.

        Parameters
        ----------
        work : callable
            Called in the child; it does not return.
        grace_seconds : float
            How long the child may take to end by itself.
        remove : sequence of str
            Directories that go when the life-line was cut.

        Returns
        -------
        int
            The exit code, as the module says.
        """
        become_subreaper()
        self.start(work)
        code = self._watch()
        self._end(code, grace_seconds, remove)
        return code

    def _end(self, code: int, grace_seconds: float, remove: Sequence[str]) -> None:
        """End everything that was started, for the reason that `code` stands for."""
        self._grant(grace_seconds)
        if code == EXIT_TIMEOUT:  # after the last words of the command
            _say(f"time limit of {self.timeout_seconds:g} s exceeded, the run was ended")
        self._end_tree()
        if self.is_cut:
            for directory in remove:
                shutil.rmtree(directory, ignore_errors=True)

    def start(self, work: Callable[[], None]) -> None:
        """Start the child; `work` is called there, and does not return."""
        supervisor = os.getpid()
        self.child = os.fork()
        if self.child == 0:
            _become(work, supervisor)

    def _watch(self) -> int:
        """Wait for a reason to end the tree; give the exit code that stands for it."""
        while True:
            self._wait(self._seconds_left())
            self.reap()
            if self.code is not None:
                return self.code
            if self.signal is not None:
                return 128 + self.signal
            if self.is_cut:
                return EXIT_LIFELINE_CUT
            if self._seconds_left() == 0:
                return EXIT_TIMEOUT

    def _grant(self, seconds: float) -> None:
        """Ask the command to end, and wait for that so long, while anybody cares."""
        until = time.monotonic() + seconds
        if self.code is None and not self.is_cut and seconds > 0 and self.child is not None:
            _send(self.child, signal.SIGTERM)
        while self.code is None and not self.is_cut and time.monotonic() < until:
            self._wait(until - time.monotonic())
            self.reap()

    def _seconds_left(self) -> float | None:
        if self.timeout_seconds is None:
            return None
        return max(0.0, self.started_at + self.timeout_seconds - time.monotonic())

    def _wait(self, seconds: float | None) -> None:
        """Wait for a signal, the end of the life-line or the time."""
        events = self.poll.poll(None if seconds is None else int(seconds * 1000) + 1)
        ready = {fd for fd, _ in events}
        if self.wake_fd in ready:
            os.read(self.wake_fd, 4096)
        if self.life_fd in ready and not self.is_cut:
            self.is_cut = _is_cut(self.life_fd)
            if not self.is_cut and self.signal is None:
                self.signal = signal.SIGTERM

    def reap(self) -> bool:
        """Take leave of children that have ended; tell whether there is still one.

        As a subreaper this process has a child for as long as anything of the tree lives.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | _WALL)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self.child:
                self.code = _exit_code(status)

    def _end_tree(self) -> None:
        """End everything below this process, in rounds, until nothing is left."""
        self.poll.unregister(self.life_fd)
        patience = 0.02
        while self.reap():
            kill_descendants(os.getpid())
            if self.reap():
                self._wait(patience)
                patience = min(1.0, patience * 1.5)


def kill_descendants(root: int, spared: Collection[int] = ()) -> int:
    """Send SIGKILL to everything below a process, having stopped it all first.

    A stopped process starts no other, so that this catches up with one that forks without end.

    Parameters
    ----------
    root : int
        Pid of a process, which is itself spared.
    spared : collection of int
        Others that are, with everything below them.

    Returns
    -------
    int
        How many were sent the signal.
    """
    stopped: set[int] = set()
    while True:
        before = len(stopped)
        for pid in descendants(root, spared):
            if pid not in stopped:
                _send(pid, signal.SIGSTOP)
                stopped.add(pid)
        if len(stopped) == before:
            break
    found = list(descendants(root, spared))  # asked anew: a pid may be somebody else's by now
    for pid in found:
        _send(pid, signal.SIGKILL)
    return len(found)


def become_subreaper() -> None:
    """Make everything that this process will start stay below it, whatever it does.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_descendants() -> None:
    """End everything below this process, a subreaper, and wait for it."""
    with contextlib.suppress(ChildProcessError):
        while True:
            kill_descendants(os.getpid())
            os.waitpid(-1, _WALL)
            while os.waitpid(-1, os.WNOHANG | _WALL)[0]:
                pass


def end_orphans(own: Collection[int]) -> None:
    """End what was left to this process, a subreaper, by a child that has died, and wait for it.

    Parameters
    ----------
    own : collection of int
        Its living children, which are spared with everything below them.
    """
    while orphans := [pid for pid in _below(os.getpid()) if pid not in own]:
        kill_descendants(os.getpid(), own)
        for pid in orphans:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, _WALL)


@contextlib.contextmanager
def ending_what_begins() -> Iterator[None]:
    """End after a block what was started below this process within it, and wait for it.

    Nothing that was there before is touched. The process is a subreaper within the block only.

    Raises
    ------
    OSError
        The kernel refuses.
    """
    own = _below(os.getpid())
    become_subreaper()
    try:
        yield
    finally:
        end_orphans(own)
        _prctl(_PR_SET_CHILD_SUBREAPER, 0)


def descendants(root: int, spared: Collection[int] = ()) -> Iterator[int]:
    """List the processes below a process, parents before their children.

    Parameters
    ----------
    root : int
        Pid of a process.
    spared : collection of int
        They are left out, with everything below them.
    """
    has_file = _lists_children(root)
    table = {} if has_file else _children_by_parent()
    waiting = [root]
    seen = {root, *spared}
    while waiting:
        parent = waiting.pop()
        for pid in _children(parent) if has_file else table.get(parent, []):
            if pid not in seen:
                seen.add(pid)
                yield pid
                waiting.append(pid)


def _below(pid: int) -> list[int]:
    """List the children of a process, whatever the kernel offers."""
    return _children(pid) if _lists_children(pid) else _children_by_parent().get(pid, [])


def _lists_children(pid: int) -> bool:
    return (_PROC / f"{pid}/task/{pid}/children").exists()


def _children(pid: int) -> list[int]:
    """List the children of a process, those of all its threads."""
    found: list[int] = []
    with contextlib.suppress(OSError):  # it has just ended
        for task in (_PROC / f"{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _children_by_parent() -> dict[int, list[int]]:
    """List everybody's children, where the kernel has no ``children`` file."""
    children: dict[int, list[int]] = {}
    for path in _PROC.iterdir():
        if path.name.isdigit():
            children.setdefault(_parent(int(path.name)), []).append(int(path.name))
    return children


def _parent(pid: int) -> int:
    """Give the parent of a process, 0 when it has just ended."""
    try:
        text = (_PROC / f"{pid}/stat").read_text(errors="replace")
    except OSError:
        return 0
    return int(text[text.rindex(")") + 2 :].split()[1])  # the name may hold anything


def _become(work: Callable[[], None], supervisor: int) -> None:
    """Do the work, in a process just forked and a session of its own."""
    code = EXIT_CANNOT_START
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, *_ENDING_SIGNALS):
            signal.signal(number, signal.SIG_DFL)
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == supervisor:
            work()
    finally:
        os._exit(code)


def _execute(command: Sequence[str]) -> None:
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # which Python ignores, for itself
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], list(command))  # noqa: S606  no shell; our own command
    except OSError as error:
        _say(f"{command[0]} cannot be started: {error.strerror}")


def _prctl(option: int, value: int) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _is_cut(fd: int) -> bool:
    try:
        return os.read(fd, 4096) == b""
    except OSError:
        return True


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _say(message: str) -> None:
    os.write(2, f"{message}\n".encode("utf-8", "replace"))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervise.py", allow_abbrev=False)
    parser.add_argument("--life-fd", type=int, required=True)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--grace", type=float, default=0.0)
    parser.add_argument("--remove", action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        os.fstat(options.life_fd)
    except OSError:
        parser.error(f"argument --life-fd: {options.life_fd} is not open")
    return options


if __name__ == "__main__":
    sys.exit(main())
