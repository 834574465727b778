"""Which files a process may touch, by Landlock: no privilege is needed, no mount is made.

Landlock hides what files hold, not that they are there, and adds nothing later: a path that is to
be read at the end may be read from the beginning.

References
----------
landlock(7); Documentation/userspace-api/landlock.rst in the kernel's source.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable

from . import linux

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_FILE, _MAKE_REG = 1, 2, 4, 8, 1 << 5, 1 << 8
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

READ = _EXECUTE | _READ_FILE | _READ_DIR
WRITE = (1 << 16) - 1 - _MAKE_CHAR - _MAKE_BLOCK
DEVICE = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
#: A process names its threads there, as the drivers of GPUs do when they are opened.
OWN_PROCESS = _READ_FILE | _READ_DIR | _WRITE_FILE | _TRUNCATE
#: Names are not listed: the folder is everybody's.
SHARED_MEMORY = _READ_FILE | _WRITE_FILE | _REMOVE_FILE | _MAKE_REG | _TRUNCATE

_VERSION = 1  # flag of landlock_create_ruleset
_PATH_BENEATH = 1  # type of a rule
_CONNECT_AND_BIND_TCP = 3
_ABSTRACT_SOCKETS_AND_SIGNALS = 3


def version() -> int:
    """Return the version of the kernel's Landlock.

    Raises
    ------
    OSError
        There is none (ENOSYS), or it was not chosen when the machine started (EOPNOTSUPP).
    """
    return linux.syscall(linux.LANDLOCK_CREATE_RULESET, None, 0, _VERSION)


def restrict(rules: Iterable[tuple[str, int]], *, allow_network: bool) -> None:
    """Confine this process and all that it starts to some files; irrevocable.

    Parameters
    ----------
    rules : iterable of (str, int)
        Paths and what is allowed at and below them; those that do not exist are left out.
    allow_network : bool
        Whether TCP is left; abstract sockets and signals reach only this process's own
        children in any case, where the kernel can see to that (Linux 6.12).
    """
    abi = version()
    handled = _handled_by(abi)
    tcp = _CONNECT_AND_BIND_TCP if abi >= 4 and not allow_network else 0
    scoped = _ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0
    words = struct.pack("3Q", handled, tcp, scoped)[: 24 if abi >= 6 else 16 if abi >= 4 else 8]
    ruleset = linux.syscall(linux.LANDLOCK_CREATE_RULESET, words, len(words), 0)
    try:
        for path, allowed in rules:
            _allow(ruleset, path, allowed & handled)
        linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
        linux.syscall(linux.LANDLOCK_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _handled_by(abi: int) -> int:
    """Return the rights that a version knows; what it does not know it cannot refuse."""
    n_rights = 13 if abi < 2 else 14 if abi < 3 else 15 if abi < 5 else 16
    return (1 << n_rights) - 1


def _allow(ruleset: int, path: str, allowed: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not os.path.isdir(path):  # noqa: PTH112 (text all the way)
            allowed &= _OF_A_FILE
        rule = struct.pack("=Qi", allowed, descriptor)
        linux.syscall(linux.LANDLOCK_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)
