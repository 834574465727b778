"""The file of the interpreter, kept from who runs in it.

A process holds on to the file of its program by ``/proc/self/exe``, on the mount where it was when
the program was started: no mount that is made later covers it. A participant's code that runs as
the owner of the interpreter could change its mode, and leave words for other folds in its times
and attributes. So the fold step, before it does anything else, starts itself anew from a mount of
that file that is read-only.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Optional

from . import linux, privileges
from .diagnosis import step

_SELF = "/proc/self/exe"


def protect(uid: Optional[int]) -> None:
    """Start this program anew with its interpreter read-only, where that is needed.

    Parameters
    ----------
    uid : int or None
        Who will run in it; None: the caller's user.

    Raises
    ------
    ConfinementError
        The machine refuses it; nothing has changed but, at most, this process's namespaces.

    Notes
    -----
    Does not return where it is needed. Needs one thread, and what a confinement by namespaces
    needs. To be called before anything is opened or imported that costs time.
    """
    if not _may_change(os.geteuid() if uid is None else uid):
        return
    path = str(Path(_SELF).readlink())
    command = Path("/proc/self/cmdline").read_bytes().split(b"\0")[:-1]
    with step(f"protect {path}"):
        _leave_mounts()
        tree = linux.clone_tree(path)
        linux.set_tree_attributes(tree, linux.MOUNT_ATTR_RDONLY)
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        linux.attach_tree(tree, place)
        os.execv(path, command)  # noqa: S606 (this program, by its own command line)


def _may_change(uid: int) -> bool:
    if os.statvfs(_SELF).f_flag & os.ST_RDONLY:
        return False
    status = Path(_SELF).stat()
    is_open_to_others = status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return status.st_uid == uid or bool(is_open_to_others)


def _leave_mounts() -> None:
    """Have mounts of one's own, which follow what is mounted and unmounted outside."""
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0:
        linux.unshare(linux.CLONE_NEWNS)
    else:
        linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or /proc/self belongs to root
        linux.unshare(linux.CLONE_NEWNS | linux.CLONE_NEWUSER)
        proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        privileges.map_identity(proc, uid, gid)
        os.close(proc)
    linux.mount(None, "/", None, linux.MS_REC | linux.MS_SLAVE, "")
