"""A control group for one fold, where this process may make one.

With a group the kernel itself holds the memory of the whole tree, counts what it writes into a
tmpfs or a memfd as well, and bounds its tasks. Without one the watch does it alone, from what it
sees twenty times a second.

A group is made below that of this process (version 1), or beside it where its parent was delegated
to us (version 2, which allows no processes in a group that has others below it). So no fold ever
leaves what an operator has set for the dispatcher.

References
----------
The kernel's documentation: admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst;
systemd.resource-control(5), ``Delegate=`` and ``DelegateSubgroup=``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from .limits import Limits

_PREFIX = "ramp-fold-"
_PROC = Path("/proc")
_MB = 1 << 20
_NUMBERS = itertools.count()

#: How long a group is waited for whose processes have just ended [s].
_PATIENCE_SECONDS = 0.5


@dataclass(frozen=True)
class _Names:
    """What the files of one version are called."""

    memory: str  #: the limit
    swap: str
    counts_swap_alone: bool  #: whether that limits swap alone, or memory and swap together
    deaths: str  #: has a line ``oom_kill N``
    own: Sequence[str]  #: lines of ``memory.stat`` that sum up to what the kernel cannot drop


_V1 = _Names(
    memory="memory.limit_in_bytes",
    swap="memory.memsw.limit_in_bytes",
    counts_swap_alone=False,
    deaths="memory.oom_control",
    own=("total_rss", "total_shmem"),
)
_V2 = _Names(
    memory="memory.max",
    swap="memory.swap.max",
    counts_swap_alone=True,
    deaths="memory.events",
    own=("anon", "shmem"),
)


@dataclass(frozen=True)
class Hierarchy:
    """Where this process may make groups, and for what."""

    names: _Names
    memory: Optional[Path]  #: a folder for groups; None: not for memory
    tasks: Optional[Path]  #: the same folder in version 2

    @property
    def folders(self) -> list[Path]:
        """Return the folders, each once."""
        found = [folder for folder in (self.memory, self.tasks) if folder is not None]
        return list(dict.fromkeys(found))


class ControlGroup:
    """A group for one fold. The limits hold from the moment a process enters.

    Parameters
    ----------
    hierarchy : Hierarchy
        Where.
    limits : Limits
        ``memory_mb`` and what `n_tasks` makes of ``processes``.

    Raises
    ------
    OSError
        The kernel refuses; nothing is left behind.
    """

    def __init__(self, hierarchy: Hierarchy, limits: Limits) -> None:
        self._names = hierarchy.names
        name = f"{_PREFIX}{os.getpid()}-{next(_NUMBERS)}"
        self._folders = [folder / name for folder in hierarchy.folders]
        self._memory = None if hierarchy.memory is None else hierarchy.memory / name
        tasks = None if hierarchy.tasks is None else hierarchy.tasks / name
        try:
            for folder in self._folders:
                folder.mkdir()
            if limits.memory_mb is not None and self._memory is not None:
                self._limit_memory(self._memory, int(limits.memory_mb * _MB))
            if limits.n_tasks is not None and tasks is not None:
                _write(tasks / "pids.max", limits.n_tasks)
        except OSError:
            self.remove()
            raise

    def _limit_memory(self, folder: Path, n_bytes: int) -> None:
        _write(folder / self._names.memory, n_bytes)
        with contextlib.suppress(OSError):  # a kernel without swap has no such file
            _write(folder / self._names.swap, 0 if self._names.counts_swap_alone else n_bytes)

    def enter(self) -> None:
        """Put the calling process into the group; its children will be in it as well.

        Raises
        ------
        OSError
            The kernel refuses.
        """
        for folder in self._folders:
            _write(folder / "cgroup.procs", 0)

    def own_bytes(self) -> Optional[int]:
        """Return the memory that exists because of the group [bytes]; None: it is not known.

        Pages of files on a disk do not count, those in a tmpfs, a memfd and shared memory do.
        """
        if self._memory is None:
            return None
        numbers = _numbers(self._memory / "memory.stat")
        found = [numbers[name] for name in self._names.own if name in numbers]
        return sum(found) if found else None

    @property
    def is_exhausted(self) -> bool:
        """Whether the kernel has ended a process of the group because its memory was used up."""
        if self._memory is None:
            return False
        return _numbers(self._memory / self._names.deaths).get("oom_kill", 0) > 0

    def remove(self) -> None:
        """Remove the group, whose processes have ended; what is left is `sweep`'s."""
        until = time.monotonic() + _PATIENCE_SECONDS
        for folder in self._folders:
            while not _is_removed(folder) and time.monotonic() < until:
                time.sleep(0.005)  # the kernel has not quite let go of the last process


@contextlib.contextmanager
def control_group(limits: Limits) -> Iterator[Optional[ControlGroup]]:
    """Make a group for one fold, where that can be had; it goes with the block.

    Parameters
    ----------
    limits : Limits
        What is to hold.

    Yields
    ------
    ControlGroup or None
        None where this process may make none.
    """
    group = _make(limits)
    try:
        yield group
    finally:
        if group is not None:
            group.remove()


def _make(limits: Limits) -> Optional[ControlGroup]:
    if (limits.memory_mb, limits.n_tasks) == (None, None):
        return None
    hierarchy = find_hierarchy()
    if hierarchy is None:
        return None
    for folder in hierarchy.folders:
        sweep(folder)
    try:
        return ControlGroup(hierarchy, limits)
    except OSError:
        return None


def sweep(folder: Path) -> None:
    """Remove the groups of fold steps that were killed."""
    for group in folder.glob(f"{_PREFIX}*-*"):
        owner = group.name[len(_PREFIX) :].split("-")[0]
        if not (_PROC / owner).exists():
            _is_removed(group)


def find_hierarchy(proc: Path = _PROC) -> Optional[Hierarchy]:
    """Find where this process may make groups.

    Parameters
    ----------
    proc : Path
        Where ``self/cgroup`` and ``self/mountinfo`` are read.

    Returns
    -------
    Hierarchy or None
        None where it may not, or the kernel has no groups for memory and tasks.
    """
    try:
        mounts = _mounts((proc / "self/mountinfo").read_text())
        groups = _groups((proc / "self/cgroup").read_text())
    except OSError:
        return None
    memory, tasks = (_own(name, mounts, groups) for name in ("memory", "pids"))
    if memory is not None or tasks is not None:
        return Hierarchy(_V1, memory, tasks)
    own = _own("", mounts, groups)
    if own is None or not _is_delegated(own.parent):
        return None
    offered = _text(own.parent / "cgroup.subtree_control").split()
    memory, tasks = (own.parent if name in offered else None for name in ("memory", "pids"))
    return Hierarchy(_V2, memory, tasks) if memory or tasks else None


def _mounts(text: str) -> dict[str, tuple[str, Path]]:
    """Return the root and the place of each controller's mount (the empty name: version 2)."""
    found = {}
    for line in text.splitlines():
        fields, _, tail = line.partition(" - ")
        kind, _, options = tail.partition(" ")
        root, place = fields.split()[3:5]
        if kind == "cgroup2":
            found[""] = (root, Path(place))
        elif kind == "cgroup":
            names = options.split()[-1].split(",")
            found.update(dict.fromkeys(names, (root, Path(place))))
    return found


def _groups(text: str) -> dict[str, str]:
    """Return for each controller (the empty name: version 2) the group of this process."""
    lines = [line.split(":", 2) for line in text.splitlines()]
    return {name: path for _, names, path in lines for name in names.split(",")}


def _own(name: str, mounts: dict[str, tuple[str, Path]], groups: dict[str, str]) -> Optional[Path]:
    """Return the folder of this process's own group, where groups can be made in or beside it."""
    if name not in mounts or name not in groups:
        return None
    root, place = mounts[name]
    inside = os.path.relpath(groups[name], root)
    if inside.startswith(".."):  # of another namespace
        return None
    folder = place / inside
    if name == "":
        return folder if inside != "." else None
    return folder if os.access(folder, os.W_OK) else None


def _is_delegated(folder: Path) -> bool:
    """Tell whether groups in a folder of version 2 are ours to make, by those who manage it."""
    try:
        if os.geteuid() != 0:
            return folder.stat().st_uid == os.geteuid() and os.access(
                folder / "cgroup.procs", os.W_OK
            )
        return os.getxattr(folder, "user.delegate") == b"1"
    except OSError:
        return False


def _numbers(path: Path) -> dict[str, int]:
    """Return the lines ``name number`` of a file."""
    lines = (line.split() for line in _text(path).splitlines())
    return {line[0]: int(line[1]) for line in lines if len(line) == 2 and line[1].isdigit()}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def _write(path: Path, number: int) -> None:
    path.write_text(str(number))


def _is_removed(folder: Path) -> bool:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
