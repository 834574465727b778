"""The strongest level: namespaces of its own, a root of its own, a pid 1 above it.

::

    parent ── A ── pid 1 ── P, the participant's code

A makes the namespaces, waits for pid 1 and ends as P has ended. pid 1 builds the root, reaps,
attaches what is released, and ends when P does, or A, or when the parent closes its end of the
control socket: the kernel then ends everything else in the pid namespace.

A parent that may come back from a new pid namespace, as root mostly may, has no need of A: `fork`
makes pid 1 its child, which makes the other namespaces.

P goes on only when A and pid 1 have given up what they do not need. So whichever of them meets a
refusal can tell it, as an error raised by `enter`, before any code of the participant has run.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import struct
from collections.abc import Collection, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NoReturn, Optional

from . import linux, mounts, privileges, seccomp
from .diagnosis import step
from .mounts import Hidden
from .plan import Confinement, ConfinementError

#: What comes on the control socket first, with descriptors of `mounts.IN_MEMORY`.
MOUNTED = b"mounted\n"
_STATUS = struct.Struct("i")
_RELEASE, _RELEASED = b"release\n", b"released\n"
_SETTLED = b"s"
_EXIT_CUT = 137
_WALL = 0x40000000  # wait for children of every kind, as made by clone(2)


@lru_cache(maxsize=None)
def can_fork_first() -> bool:
    """Return whether this process can make a pid namespace for its children and come back.

    It joins the one that it is in, which is refused where the other would be.
    """
    if os.geteuid() != 0:
        return False
    try:
        with _own_pids() as pids:
            linux.join(pids, linux.CLONE_NEWPID)
    except OSError:
        return False
    return True


def fork() -> int:
    """Fork; the child is pid 1 of a new pid namespace where `can_fork_first`.

    `enter` is then called in the child. It is for a process of one thread, as `os.fork` is.

    Raises
    ------
    ConfinementError, OSError
        The kernel refuses. The next child will be in this process's own namespace all the same.
    """
    if not can_fork_first():
        return os.fork()
    with _own_pids() as pids:
        with step("make namespaces"):
            linux.unshare(linux.CLONE_NEWPID)
        try:
            child = os.fork()
        except OSError:
            linux.join(pids, linux.CLONE_NEWPID)
            raise
        if child:
            linux.join(pids, linux.CLONE_NEWPID)
        return child


@contextlib.contextmanager
def _own_pids() -> Iterator[int]:
    descriptor = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def enter(plan: Confinement, control: int, status: int, keep: Optional[Collection[int]]) -> None:
    """Go on in P only; see `confine.enter`."""
    if os.getpid() == 1:  # of `fork`
        _make_namespaces(plan, 0, 0, of_pids=0)
        _become_first(plan, control, status, None, keep)
        return
    uid, gid = os.geteuid(), os.getegid()
    _make_namespaces(plan, uid, gid)
    with step("start pid 1"):
        ours, theirs = socket.socketpair()
        pid = os.fork()
    if pid:
        theirs.close()
        _settle_above(plan)
        _wait_for(pid, ours)
    ours.close()
    _become_first(plan, control, status, theirs, keep)


def _make_namespaces(
    plan: Confinement, uid: int, gid: int, of_pids: int = linux.CLONE_NEWPID
) -> None:
    flags = linux.CLONE_NEWNS | of_pids | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
    if not plan.allow_network:
        flags |= linux.CLONE_NEWNET
    if Path("/proc/self/ns/cgroup").exists():
        flags |= linux.CLONE_NEWCGROUP
    if uid != 0:
        flags |= linux.CLONE_NEWUSER
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or /proc/self belongs to root
    with step("make namespaces"):
        linux.unshare(flags)
    if uid != 0:
        with step("map the user into a user namespace"):
            _map_identity("/proc", uid, gid)
    with step("name the machine"):
        socket.sethostname("ramp")
    if not plan.allow_network:
        with step("bring up the loopback network"):
            linux.raise_loopback()


def _map_identity(proc: str, uid: int, gid: int) -> None:
    descriptor = os.open(proc, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        privileges.map_identity(descriptor, uid, gid)
    finally:
        os.close(descriptor)


def _settle_above(plan: Confinement) -> None:
    """Be A, and give up what is not needed to wait."""
    privileges.reset_signals()
    privileges.become_user(plan)
    with step("tie the fold to its parent"):
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    privileges.drop_capabilities()


def _wait_for(pid: int, first: socket.socket) -> NoReturn:
    """Be A: hold the life-line of pid 1, and end as P has ended."""
    code = 70
    try:
        privileges.close_all_but({first.fileno()})
        message = b""
        with contextlib.suppress(OSError):  # pid 1 may have been refused something and be gone
            first.send(_SETTLED, socket.MSG_NOSIGNAL)
            message = first.recv(_STATUS.size)
        own = _wait(pid)
        code = _end_as(_STATUS.unpack(message)[0] if len(message) == _STATUS.size else own)
    finally:
        os._exit(code)


def _wait(pid: int) -> int:
    return os.waitpid(pid, _WALL)[1]


def _end_as(status: int) -> int:
    """End by the signal that a status tells of; return the exit code where there was none."""
    if not os.WIFSIGNALED(status):
        return os.WEXITSTATUS(status)
    number = os.WTERMSIG(status)
    privileges.leave_no_core()
    with contextlib.suppress(OSError):
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    return 128 + number


def _become_first(
    plan: Confinement,
    control: int,
    status: int,
    above: Optional[socket.socket],
    keep: Optional[Collection[int]],
) -> None:
    """Be pid 1, and return in the process that it starts."""
    with step("tie pid 1 to its parent"):
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    hidden, proc = mounts.build(plan)
    _tell_of_memory(control)
    with step("start the confined process"):
        gate, opens = os.pipe()
        pid = os.fork()
    if pid:
        os.close(proc)
        os.close(gate)
        first = _First(pid, control, status, above, hidden)
        first.settle()
        first.run(opens)
    if above is not None:
        above.close()
    for descriptor in (control, status, *(number for pair in hidden.trees for number in pair)):
        os.close(descriptor)
    os.close(opens)
    _become_last(plan, proc, gate, keep)


def _tell_of_memory(control: int) -> None:
    """Hand the parent what tells how full the file systems in memory are, whoever it is."""
    places = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in mounts.IN_MEMORY]
    with step("tell of the file systems in memory"), socket.socket(fileno=os.dup(control)) as way:
        socket.send_fds(way, [MOUNTED], places)
    for place in places:
        os.close(place)


def _become_last(plan: Confinement, proc: int, gate: int, keep: Optional[Collection[int]]) -> None:
    """Be P: give up everything that is not the plan's."""
    with step("begin a session"):
        os.setsid()
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
    if os.geteuid() == 0:
        privileges.become_user(plan)
        _count_processes_apart(proc)
    os.close(proc)
    privileges.limit_resources(plan)
    privileges.drop_capabilities()
    privileges.check_access(plan)
    if os.read(gate, 1) != _SETTLED:
        os._exit(_EXIT_CUT)  # one of those above has been refused something, and tells it
    os.close(gate)
    if keep is not None:
        privileges.close_all_but({0, 1, 2, *keep})
    families = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
    with step("filter system calls"):
        seccomp.restrict(seccomp.Rules(families, has_own_pids=True))


def _count_processes_apart(proc: int) -> None:
    """Have the limit of processes count this fold's alone, where user namespaces are allowed."""
    uid, gid = os.geteuid(), os.getegid()
    try:
        linux.unshare(linux.CLONE_NEWUSER)
    except OSError:
        return  # the limit then counts all processes of that user, which is no weaker
    with step("map the user into a user namespace"):
        privileges.map_identity(proc, uid, gid)


class _First:
    """Pid 1 at work. It never runs a participant's code.

    Parameters
    ----------
    pid : int
        P, as seen inside.
    control, status : int
        As of `confine.enter`.
    above : socket or None
        The way to A, if there is one.
    hidden : Hidden
        What is to be released.
    """

    def __init__(
        self, pid: int, control: int, status: int, above: Optional[socket.socket], hidden: Hidden
    ) -> None:
        self.pid = pid
        self.control = control
        self.status = status
        self.above = above
        self.ways = [] if above is None else [above.fileno()]
        self.hidden = hidden
        self.received = b""

    def settle(self) -> None:
        """Keep no right that is not needed."""
        privileges.reset_signals()
        with step("drop the capabilities of pid 1"):
            self._keep_capabilities(1 << linux.CAP_SYS_ADMIN if self.hidden.trees else 0)
        if self.above is not None and self.above.recv(1) != _SETTLED:
            os._exit(_EXIT_CUT)  # A has been refused something, and tells it

    def run(self, opens: int) -> NoReturn:
        """Let P go on, and serve until the end, which ends everything in the namespace.

        Parameters
        ----------
        opens : int
            Writing end of the pipe at which P waits.
        """
        code = 70
        try:
            used = {number for pair in self.hidden.trees for number in pair}
            used |= {self.control, self.status, *self.ways}
            privileges.close_all_but({*used, opens})
            wake = self._wake_up_for_children()
            os.write(opens, _SETTLED)
            os.close(opens)
            code = self._serve(wake)
        finally:
            os._exit(code)

    def _wake_up_for_children(self) -> int:
        """Return what is readable when a child has ended."""
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        return reader

    def _keep_capabilities(self, kept: int) -> None:
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.drop_bounding_set(kept)
        linux.set_capabilities(kept)

    def _serve(self, wake: int) -> int:
        poll = select.poll()
        for descriptor in (wake, self.control, *self.ways):
            poll.register(descriptor, select.POLLIN)
        while True:
            status = self._reap()
            if status is not None:
                self._tell(_STATUS.pack(status))
                return 0
            ready = {descriptor for descriptor, _ in poll.poll()}
            if wake in ready:
                os.read(wake, 4096)
            if ready.intersection(self.ways):
                return _EXIT_CUT
            if self.control in ready and not self._obey():
                return _EXIT_CUT

    def _reap(self) -> Optional[int]:
        """Take leave of whoever has ended; return the status of P if it was among them."""
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG | _WALL)
            if pid == self.pid:
                return status
            if pid == 0:
                return None

    def _obey(self) -> bool:
        """Do what the parent asks; return False when it has gone."""
        chunk = os.read(self.control, 64)
        self.received += chunk
        if self.received == _RELEASE:
            self.received = b""
            return self._release()
        return bool(chunk)

    def _release(self) -> bool:
        """Attach what was hidden; tell the parent that it is there, or what was refused."""
        try:
            with step("show the test data"):
                self.hidden.release()
                linux.set_capabilities()
        except ConfinementError as error:
            refusal = {"message": error.message, "hint": error.hint}
            os.write(self.control, json.dumps(refusal).encode())
            return False
        self.hidden = Hidden(())
        os.write(self.control, _RELEASED)
        return True

    def _tell(self, message: bytes) -> None:
        for descriptor in (self.status, *self.ways):
            with contextlib.suppress(OSError):  # nobody is there any more
                os.write(descriptor, message)
