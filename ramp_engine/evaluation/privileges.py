"""Give up for good what a process holds: identity, capabilities, descriptors, limits."""

from __future__ import annotations

import os
import pwd
import resource
import signal
from collections.abc import Collection

from . import linux
from .diagnosis import step
from .plan import Confinement, ConfinementError

_LAST_DESCRIPTOR = 1 << 31


def find_user(name: str) -> tuple[int, int]:
    """Give the numbers of a user without rights, and of its group, for submissions to run as.

    Raises
    ------
    ConfinementError
        There is no such user, or it is root.
    """
    try:
        entry = pwd.getpwnam(name)
    except KeyError as error:
        hint = "Make the user, or name another as sandbox_user"
        reason = f"there is no user {name!r} for submissions to run as"
        raise ConfinementError(reason, hint) from error
    if entry.pw_uid == 0:
        hint = "Name a user without rights"
        raise ConfinementError(f"submissions must not run as root, who is {name!r}", hint)
    return entry.pw_uid, entry.pw_gid


def check_identity(plan: Confinement) -> None:
    """See to it that nobody is root inside, and that only root becomes somebody else.

    Raises
    ------
    ConfinementError
        The plan does not fit the calling process.
    """
    is_root = os.geteuid() == 0
    if is_root and plan.level != "none" and not (plan.uid and plan.gid):
        raise ConfinementError(
            "the participant's code would run as root", "Give a user and a group other than root"
        )
    if not is_root and plan.uid not in (None, os.geteuid()):
        raise ConfinementError(
            f"only root can become user {plan.uid}", "Run the engine as root, or as that user"
        )


def become_user(plan: Confinement) -> None:
    """Take the plan's identity, if the caller is root: no group besides, no capability later."""
    if os.geteuid() != 0 or plan.uid is None or plan.gid is None:
        return
    with step(f"become user {plan.uid}"):
        linux.drop_bounding_set()
        os.setgroups([])
        os.setresgid(plan.gid, plan.gid, plan.gid)
        os.setresuid(plan.uid, plan.uid, plan.uid)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or /proc/self belongs to root


def map_identity(proc: int, uid: int, gid: int) -> None:
    """Keep the numbers of user and group in a new user namespace; any other is nobody.

    Parameters
    ----------
    proc : int
        Descriptor of a ``/proc`` that may be written.
    uid, gid : int
        The identity of the calling process.
    """
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        descriptor = os.open(f"self/{name}", os.O_WRONLY | os.O_CLOEXEC, dir_fd=proc)
        try:
            os.write(descriptor, text.encode())
        finally:
            os.close(descriptor)


def drop_capabilities() -> None:
    """Have no capability, and get none by any program that is started."""
    with step("drop capabilities"):
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        if linux.has_capabilities():
            linux.drop_bounding_set()
        linux.set_capabilities()


def limit_resources(plan: Confinement) -> None:
    """Set the plan's limits, soft and hard; none is raised above what it was."""
    for name, value in plan.rlimits.items():
        number = getattr(resource, f"RLIMIT_{name}")
        with step(f"limit {name} to {value}"):
            hard = resource.getrlimit(number)[1]
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(number, (value, value))


def close_all_but(kept: Collection[int]) -> None:
    """Close every descriptor besides those given.

    ``/proc`` is not asked: for A it may be that of a pid namespace in which A is not.
    """
    first = 0
    for descriptor in (*sorted(kept), _LAST_DESCRIPTOR):
        if descriptor > first:
            _close(first, descriptor - 1)
        first = descriptor + 1


def _close(first: int, last: int) -> None:
    try:
        linux.close_range(first, last)
    except OSError:  # before Linux 5.9
        os.closerange(first, min(last + 1, os.sysconf("SC_OPEN_MAX")))


def reset_signals() -> None:
    """Have signals do what they do to a process that has not chosen anything."""
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        if number < signal.SIGRTMIN:
            signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def check_access(plan: Confinement) -> None:
    """See to it that what is to be read or written can be, by the identity taken.

    Raises
    ------
    ConfinementError
        A path is closed to it.
    """
    for paths, mode, doing in (
        (plan.read, os.R_OK, "read"),
        (plan.write, os.W_OK, "write"),
        (plan.devices, os.R_OK | os.W_OK, "open"),
    ):
        for path in paths:
            if not os.access(path, mode):
                raise ConfinementError(
                    f"user {os.geteuid()} cannot {doing} {path}",
                    f"Permit that user to {doing} it and to enter the folders above it",
                )


def leave_no_core() -> None:
    """Have this process end by a signal without a memory dump."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
