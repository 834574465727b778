"""What the processes of a fold use, read from /proc.

All that a fold has started lies below its parent, which is a subreaper. Nothing here needs a
privilege but to read `smaps_rollup` of another user's processes, or of one that has made itself
not dumpable; where that is refused the estimate from `statm` stands for that process.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from . import supervise

_PROC = Path("/proc")
_PAGE = resource.getpagesize()
_TICKS = os.sysconf("SC_CLK_TCK")


class ProcessTree:
    """All processes below this one.

    Parameters
    ----------
    n_keepers : int
        How many of them, from the top, are ours: they do not count as the participant's.
    """

    def __init__(self, n_keepers: int = 0) -> None:
        self.n_keepers = n_keepers
        self._cpu = _CpuMeter()
        self._places: list[int] = []
        #: Resident memory that a child shares with this process at first [bytes].
        self.baseline = resident(os.getpid())

    def pids(self) -> list[int]:
        """Return all of them, ours first."""
        return list(supervise.descendants(os.getpid()))

    def theirs(self, pids: list[int]) -> list[int]:
        """Return those that are not ours."""
        return pids[self.n_keepers :]

    def n_threads(self, pids: list[int]) -> int:
        """Return the number of threads of all processes that are not ours."""
        return sum(map(_n_threads, self.theirs(pids)))

    def count_files(self, places: list[int]) -> None:
        """Count what is written into file systems in memory as well.

        Parameters
        ----------
        places : list of int
            A descriptor in each of them; closed by `close`.
        """
        self._places += places

    def close(self) -> None:
        """Close the descriptors. May be called again."""
        while self._places:
            os.close(self._places.pop())

    def file_bytes(self) -> int:
        """Return the size of all files in those file systems [bytes], also of removed ones."""
        return sum(map(_used, self._places))

    def resident_bytes(self, pids: list[int]) -> int:
        """Return an upper bound of what `own_bytes` would find, at 2 µs a process."""
        return sum(resident(pid) for pid in self.theirs(pids)) + self.file_bytes()

    def own_bytes(self, pids: list[int]) -> int:
        """Return the memory that exists because of the tree, at some 15 ms a GB [bytes].

        Pages that several of its processes share count once, those that are still shared with
        this process by copy-on-write not at all. Where others share them too (a fold server, the
        folds beside), only bounds can be had, the higher of which is taken: it may be too low, by a
        part of what was copied. Files of a disk that are mapped do not count.
        Those in memory do, once: what of them is mapped is looked up where that can matter, at as
        much time again. Memory without a name that no process maps (``memfd_create``, System V)
        does not.
        """
        files = self.file_bytes()
        mine = _rollup(os.getpid())
        if mine is None:
            return files + self._estimated_bytes(self.theirs(pids))
        found = {pid: _rollup(pid) for pid in pids}
        rollups = [rollup for rollup in found.values() if rollup is not None]
        shares = list(map(_share, rollups))
        of_tree = sum(shares) + _share(mine) - mine["Anonymous"] - mine["Swap"]
        of_each = sum(max(0, share - _share(mine)) for share in shares)
        mapped = sum(rollup["Pss_Shmem"] for rollup in rollups)
        if files and mapped:
            files = max(0, files - self._mapped_bytes(pids))
        closed = [pid for pid in self.theirs(pids) if found[pid] is None]
        return max(of_tree, of_each) + mapped + files + self._estimated_bytes(closed)

    def _estimated_bytes(self, pids: list[int]) -> int:
        """Return what processes have of their own if they still share all they began with."""
        return sum(max(0, resident(pid) - self.baseline) for pid in pids)

    def _mapped_bytes(self, pids: list[int]) -> int:
        """Return how much of the files in memory is mapped, at least [bytes]."""
        devices = {_device(place) for place in self._places}
        return sum(_mapped(pid, devices) for pid in pids)

    def absent_bytes(self) -> int:
        """Return how much of the files that it maps to be changed this process has not looked at.

        What is mapped of a bundle is resident where it was mapped, and not in the children of that
        process until they look: what a fold sees of it then is nothing that it has taken [bytes].
        """
        absent = 0
        is_ours = False
        for line in _read(_PROC / "self/smaps").splitlines():
            name, *words = line.split()
            if not name.endswith(":"):  # of a mapping: addresses, rights, offset, device, inode
                is_ours = words[0] == "rw-p" and words[3] != "0"
            elif is_ours and name in ("Size:", "Rss:"):
                absent += (int(words[0]) << 10) * (1 if name == "Size:" else -1)
        return absent

    def cpu_seconds(self, pids: list[int]) -> float:
        """Return the CPU time of the tree [s], of processes that have ended as well.

        Those for which nobody waited (their parent ignores SIGCHLD) count as far as they were seen:
        what such a process took since the look before its end is lost.
        """
        return self._cpu.read(pids)


def _n_threads(pid: int) -> int:
    """Return the number of threads of a process; 0 when it has ended."""
    try:
        return (_PROC / f"{pid}/task").stat().st_nlink - 2  # so much cheaper than to list them
    except OSError:
        return 0


def resident(pid: int) -> int:
    """Return the resident memory of a process [bytes]; 0 when it has ended."""
    text = _read(_PROC / f"{pid}/statm").split()
    return int(text[1]) * _PAGE if len(text) > 1 else 0


def _used(place: int) -> int:
    usage = os.fstatvfs(place)
    return (usage.f_blocks - usage.f_bfree) * usage.f_frsize


def _device(place: int) -> str:
    """Return the device of a file system as `smaps` writes it."""
    number = os.fstat(place).st_dev
    return f"{os.major(number):02x}:{os.minor(number):02x}"


def _mapped(pid: int, devices: set[str]) -> int:
    """Return a process's share of the pages that it maps of files on some devices [bytes]."""
    found = share = 0
    is_theirs = False
    for line in _read(_PROC / f"{pid}/smaps").splitlines():
        name, *words = line.split()
        if not name.endswith(":"):  # of a mapping: addresses, rights, offset, device
            is_theirs = words[2] in devices
        elif is_theirs and name == "Pss:":
            share = int(words[0]) << 10
        elif is_theirs and name == "Anonymous:":  # copied on writing
            found += max(0, share - (int(words[0]) << 10))
    return found


def _share(rollup: dict[str, int]) -> int:
    """Return a process's share of memory without a name [bytes]: of a page that k have, 1 / k."""
    return rollup["Pss_Anon"] + rollup["SwapPss"]


def _rollup(pid: int) -> Optional[dict[str, int]]:
    """Return the sums over the mappings of a process [bytes]; None when they are not to be had."""
    lines = _read(_PROC / f"{pid}/smaps_rollup").splitlines()[1:]
    sums = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    return sums if "Pss_Anon" in sums and "SwapPss" in sums else None


@dataclass(frozen=True)
class _CpuTimes:
    """CPU time of a process [s]."""

    own: float
    waited: float  #: of its children for which it, or whoever was its child, has waited


class _CpuMeter:
    """The CPU time of a tree from look to look."""

    def __init__(self) -> None:
        self._reaped = self._reaped_before = _reaped_seconds()
        self._seen: dict[tuple[int, str], _CpuTimes] = {}
        self._lost = self._missing = 0.0

    def read(self, pids: list[int]) -> float:
        now = dict(found for found in map(_cpu_times, pids) if found is not None)
        reaped = _reaped_seconds()
        ended = [times for key, times in self._seen.items() if key not in now]
        vanished = sum(times.own + times.waited for times in ended)
        nothing = _CpuTimes(0.0, 0.0)
        inherited = reaped - self._reaped
        inherited += sum(t.waited - self._seen.get(k, nothing).waited for k, t in now.items())
        # it may have ended after its parent was read: what is missing may come at the next look
        self._lost += max(0.0, self._missing - inherited)
        self._missing = max(0.0, vanished - inherited)
        self._seen, self._reaped = now, reaped
        living = sum(times.own + times.waited for times in now.values())
        return living + reaped - self._reaped_before + self._lost


def _cpu_times(pid: int) -> Optional[tuple[tuple[int, str], _CpuTimes]]:
    """Return the times of a process, by its pid and start; None when it has ended."""
    text = _read(_PROC / f"{pid}/stat")
    words = text[text.rfind(")") + 2 :].split()  # the name may hold anything
    if len(words) < 20:
        return None
    user, system, user_waited, system_waited = (int(word) / _TICKS for word in words[11:15])
    return (pid, words[19]), _CpuTimes(user + system, user_waited + system_waited)


def _reaped_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended, or it is not ours to read
        return ""
