"""Confine a process that is about to run a participant's code.

============== ====================================================================================
level          what holds
============== ====================================================================================
``namespaces`` own root, pids, network, IPC; no capability; system calls filtered; dies as a whole
``landlock``   files by Landlock, system calls filtered; sees names and pids, kills no tree
``none``       limits of resources only
============== ====================================================================================

Run as a file by any interpreter it finds out what a machine offers, and prints JSON::

    python -I -S confine.py probe [--uid N --gid N]
"""

from __future__ import annotations

if __name__ == "__main__":  # a file on its own: its siblings are to be found all the same
    import importlib.util
    import sys
    from importlib.machinery import ModuleSpec
    from pathlib import Path

    __package__ = "ramp_evaluation"
    _spec = ModuleSpec(__package__, None, is_package=True)
    _spec.submodule_search_locations = [str(Path(__file__).resolve().parent)]
    sys.modules[__package__] = importlib.util.module_from_spec(_spec)

import os
import socket
from collections.abc import Collection
from typing import Optional

from . import landlock, mounts, namespaces, privileges, seccomp
from .diagnosis import step
from .plan import LEVELS, Confinement, ConfinementError

__all__ = ["LEVELS", "Confinement", "ConfinementError", "enter"]


def enter(
    plan: Confinement, control: int, status: int, keep: Optional[Collection[int]] = None
) -> None:
    r"""Confine the calling process, which was just forked for it; irrevocable.

    At the level ``namespaces`` the call returns in a grandchild (P); the calling process (A) ends
    as P has ended, by the same exit code or signal, after everything in the namespace has. Where
    `namespaces.fork` has made the calling process pid 1 it returns in a child, and pid 1 ends by 0.
    At the other levels the calling process is P.

    Parameters
    ----------
    plan : Confinement
        What is to hold.
    control : int
        One end of a socket pair. The other is the parent's: it reads ``mounted\\\\n``, with
        descriptors of `mounts.IN_MEMORY`, writes ``release\\\\n``, reads ``released\\\\n``, and
        ends everything by closing it. Level ``namespaces`` only.
    status : int
        Writing end of a pipe, on which comes what ``os.waitpid`` would give for P (a native
        int); nothing when P was never there or was ended with its pid 1. ``namespaces`` only.
    keep : collection of int, optional
        Descriptors that P keeps besides 0, 1 and 2; all others are closed. By default P keeps
        what is open but `control` and `status`: the caller then has to see to it that neither
        the other end of `control` nor a folder is among them.

    Raises
    ------
    ConfinementError
        Something cannot be done, in whichever of the processes was to do it: the caller reports
        it and ends the process. Never is anything left out.

    Notes
    -----
    The caller has one thread, and closes no descriptor and runs no participant's code before.
    The working directory is ``/`` at the level ``namespaces`` and unchanged elsewhere. SIGKILL
    to A ends everything too, but A is then gone a moment before the rest.
    """
    privileges.check_identity(plan)
    if plan.level == "namespaces":
        namespaces.enter(plan, control, status, keep)
        return
    if plan.level not in LEVELS:
        raise ConfinementError(f"there is no level {plan.level!r}", f"Take one of {LEVELS}")
    os.close(control)
    os.close(status)
    _restrict_in_place(plan)
    if keep is not None:
        privileges.close_all_but({0, 1, 2, *keep})
    if plan.level == "landlock":
        with step("filter system calls"):
            seccomp.restrict(seccomp.Rules(_families(plan), has_own_pids=False))


def _restrict_in_place(plan: Confinement) -> None:
    if os.getpid() != os.getsid(0):
        os.setsid()
    privileges.become_user(plan)
    if plan.level == "landlock":
        privileges.check_access(plan)
        with step("restrict files by Landlock"):
            landlock.restrict(_file_rules(plan), allow_network=plan.allow_network)
        privileges.drop_capabilities()
    privileges.limit_resources(plan)


def _file_rules(plan: Confinement) -> list[tuple[str, int]]:
    system = mounts.system_files(allow_network=plan.allow_network)
    accounts = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/etc/hosts", "/proc")
    return [
        *((path, landlock.READ) for path in (*system, *accounts, *plan.read, *plan.released)),
        *((path, landlock.WRITE) for path in plan.write),
        *((path, landlock.DEVICE) for path in (*mounts.DEVICES, *plan.devices)),
        *((("/proc/self", landlock.OWN_PROCESS),) if plan.devices else ()),
        ("/dev/shm", landlock.SHARED_MEMORY),  # noqa: S108 (semaphores of multiprocessing)
    ]


def _families(plan: Confinement) -> tuple[int, ...]:
    """Return the sockets that are left.

    A user's own are the way to services that act for them outside (D-Bus, docker, an agent of
    keys), and Landlock does not close it; of somebody who owns nothing there are none.
    """
    unix = (int(socket.AF_UNIX),) if plan.uid is not None else ()
    return (*unix, socket.AF_INET, socket.AF_INET6) if plan.allow_network else unix


if __name__ == "__main__":
    from .probe import main

    sys.exit(main())
