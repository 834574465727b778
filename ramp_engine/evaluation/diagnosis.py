"""Why a machine refuses a confinement, and what its administrator can do about it."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Union

from .plan import ConfinementError

_APPARMOR = (
    "AppArmor keeps namespaces from users, as since Ubuntu 24.04. Allow them for all by 'sysctl "
    "kernel.apparmor_restrict_unprivileged_userns=0', or for one interpreter by a profile in "
    "/etc/apparmor.d: 'abi <abi/4.0>, profile ramp /path/to/python flags=(unconfined) { userns, }'"
)
_CONTAINER = (
    "A container's default rules refuse namespaces. Start it with '--security-opt "
    "seccomp=unconfined --security-opt apparmor=unconfined --security-opt systempaths=unconfined', "
    "and with '--cap-add SYS_ADMIN --cap-add NET_ADMIN' if the engine is root inside"
)
_FILTERED = (
    "The calling process is under a seccomp filter that refuses this (docker's default profile, or "
    "SystemCallFilter= or RestrictNamespaces= of a systemd unit): allow unshare, mount, "
    "pivot_root, open_tree, move_mount and mount_setattr there"
)

#: Errors that are about a disk where they name a path.
_OF_DISKS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


@contextlib.contextmanager
def step(doing: str) -> Iterator[None]:
    """Turn a refusal of the system into a `ConfinementError` that says what can be done.

    Parameters
    ----------
    doing : str
        What is being done, in the infinitive without "to".
    """
    try:
        yield
    except OSError as error:
        reason = f"cannot {doing}: {error.strerror or error}"
        if error.filename:
            reason += f": {os.fsdecode(error.filename)}"
        raise ConfinementError(reason, hint(error.errno or 0, error.filename)) from error


def hint(number: int, path: Union[str, bytes, int, None] = None) -> str:
    """Say what to allow or to install after an error number of a system call.

    Parameters
    ----------
    number : int
        The error number.
    path : str, optional
        What it was about.
    """
    if number in _OF_DISKS and isinstance(path, (str, bytes)):
        return f"Make room on the disk of {os.fsdecode(path)}"
    if number == errno.ENOENT:
        return ""
    if number == errno.ENOSPC:
        return _exhausted()
    if number in (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE):
        return (
            "The machine has no more processes, memory or open files for this user: lower "
            "n_workers, or raise what the user may have (ulimit -u and -n, limits of the service)"
        )
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return (
            f"The kernel ({os.uname().release}) is too old or built without it: namespaces need "
            "Linux 5.12, Landlock 5.13 and 'landlock' in the list of the boot parameter lsm="
        )
    return _forbidden()


def _exhausted() -> str:
    for path in sorted(Path("/proc/sys/user").glob("max_*_namespaces")):
        if _read(path) == "0":
            return f"user.{path.name} is 0: raise it by 'sysctl user.{path.name}=10000'"
    return "Raise the limits of namespaces: 'sysctl -a | grep user.max_'"


def _forbidden() -> str:
    kernel = Path("/proc/sys/kernel")
    if os.geteuid() != 0 and _read(kernel / "unprivileged_userns_clone") == "0":
        return "Users may not make namespaces: 'sysctl kernel.unprivileged_userns_clone=1'"
    if os.geteuid() != 0 and _read(kernel / "apparmor_restrict_unprivileged_userns") == "1":
        return _APPARMOR
    if any(Path(path).exists() for path in ("/.dockerenv", "/run/.containerenv")):
        return _CONTAINER
    if "\nSeccomp:\t2" in _read(Path("/proc/self/status")):
        return _FILTERED
    return "Run the engine as a user who may do this, or as root with all capabilities"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
