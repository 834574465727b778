"""What the processes of a fold use, read from /proc.

All that a fold has started lies below its parent, which is a subreaper. Nothing here needs a
privilege but to read `smaps_rollup` of another user's processes; where that is refused the
estimate from `statm` stands.
"""

from __future__ import annotations

import os
import resource
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
        self._cpu_before = _reaped_seconds()
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

    def resident_bytes(self, pids: list[int]) -> int:
        """Return an upper bound of what `own_bytes` would find, at 2 µs a process."""
        return sum(resident(pid) for pid in self.theirs(pids))

    def own_bytes(self, pids: list[int]) -> int:
        """Return the memory that exists because of the tree, at some 15 ms a GB [bytes].

        Pages that several of its processes share count once, those that are still shared with
        this process by copy-on-write not at all. Files mapped into memory do not count.
        """
        rollups = [rollup for rollup in map(_rollup, pids) if rollup is not None]
        mine = _rollup(os.getpid())
        if mine is None or (pids and not rollups):
            return sum(max(0, resident(pid) - self.baseline) for pid in self.theirs(pids))
        shares = sum(rollup["Pss_Anon"] + rollup["SwapPss"] for rollup in (*rollups, mine))
        shares += sum(rollup["Pss_Shmem"] for rollup in rollups)
        return max(0, shares - mine["Anonymous"] - mine["Swap"])

    def cpu_seconds(self, pids: list[int]) -> float:
        """Return the CPU time of the tree [s], of processes that were waited for as well."""
        return sum(map(_cpu_seconds, pids)) + _reaped_seconds() - self._cpu_before


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


def _rollup(pid: int) -> Optional[dict[str, int]]:
    """Return the sums over the mappings of a process [bytes]; None when they are not to be had."""
    lines = _read(_PROC / f"{pid}/smaps_rollup").splitlines()[1:]
    sums = {line.split(":")[0]: int(line.split()[1]) << 10 for line in lines}
    return sums if "Pss_Anon" in sums and "SwapPss" in sums else None


def _cpu_seconds(pid: int) -> float:
    text = _read(_PROC / f"{pid}/stat")
    numbers = text[text.rfind(")") + 2 :].split()[11:15]  # the name may hold anything
    return sum(map(int, numbers)) / _TICKS


def _reaped_seconds() -> float:
    times = os.times()
    return times.children_user + times.children_system


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended, or it is not ours to read
        return ""
