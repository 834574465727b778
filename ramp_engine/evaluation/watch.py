"""The watch over one fold: what it uses, held against its limits.

It is asked some twenty times a second, less often in a long fold that is far from its limits, and
costs some 0.1 ms each time. Memory is what the kernel counts for the fold's control group; without
one it is measured on suspicion only.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from .control_group import ControlGroup
from .disk_use import DiskUse, walk
from .limits import MAX_PATH, Excess, Limits
from .process_tree import ProcessTree

_MB = 1 << 20

#: Time between two looks, at first and at most [s].
FIRST_INTERVAL, LAST_INTERVAL = 0.05, 0.25
#: Time between two walks through the files [s].
WALK_INTERVAL = 1.0
#: A look may take one part in so many of the time: many threads make it slow.
LOOK_THRIFT = 10
#: What is exact or takes long may take one part in so many of the time.
THRIFT = 20


class Watch:
    """The watch over one fold.

    Parameters
    ----------
    limits : Limits
        What is allowed.
    tree : ProcessTree
        The processes.
    folders : sequence of Path
        Where the fold may write.
    group : ControlGroup, optional
        It is in.
    """

    def __init__(
        self,
        limits: Limits,
        tree: ProcessTree,
        folders: Sequence[Path],
        group: Optional[ControlGroup] = None,
    ) -> None:
        self._limits = limits
        self._tree = tree
        self._started_at = self._looked_at = time.monotonic()
        self._interval = FIRST_INTERVAL
        self._memory = _MemoryWatch(limits.memory_mb, tree, group)
        self._disk = _DiskWatch(limits, folders)

    @property
    def peak_memory_mb(self) -> float:
        """Return the most memory that was measured; less than there was between two looks."""
        return self._memory.peak / _MB

    def seconds_to_next(self) -> Optional[float]:
        """Return when the next look is due [s]; None: never."""
        if self._limits == Limits(log_mb=self._limits.log_mb):
            return None
        now = time.monotonic()
        due_at = self._looked_at + self._interval
        if self._limits.fold_seconds is not None:
            due_at = min(due_at, self._started_at + self._limits.fold_seconds)
        return max(0.0, due_at - now)

    def look(self) -> Optional[Excess]:
        """Look once; tell of the first limit that is exceeded."""
        now = self._looked_at = time.monotonic()
        begun_at = time.process_time()
        pids = self._tree.pids()
        excess = (
            self._time(now)
            or _over("processes", len(self._tree.theirs(pids)), self._limits.processes)
            or self._threads(pids)
            or self._memory.look(pids, now)
            or self._cpu(pids)
            or self._disk.look(now)
        )
        age = now - self._started_at
        is_near = self._memory.is_near or self._disk.is_walking
        cost = time.process_time() - begun_at
        self._interval = max(FIRST_INTERVAL if is_near else _interval(age), LOOK_THRIFT * cost)
        return excess

    def look_back(self) -> Optional[Excess]:
        """Look at what remains of a fold that has ended: its CPU time, its files, how it died."""
        return (
            self._memory.look_back()
            or self._cpu([])
            or self._disk.look_back(time.monotonic() + WALK_INTERVAL)
        )

    def _time(self, now: float) -> Optional[Excess]:
        return _over("fold_seconds", now - self._started_at, self._limits.fold_seconds)

    def _threads(self, pids: list[int]) -> Optional[Excess]:
        if self._limits.threads is None:
            return None
        return _over("threads", self._tree.n_threads(pids), self._limits.threads)

    def _cpu(self, pids: list[int]) -> Optional[Excess]:
        if self._limits.cpu_seconds is None:
            return None
        return _over("cpu_seconds", self._tree.cpu_seconds(pids), self._limits.cpu_seconds)


def _interval(age: float) -> float:
    return min(LAST_INTERVAL, max(FIRST_INTERVAL, age / 100))


def _over(limit: str, figure: float, allowed: Optional[float]) -> Optional[Excess]:
    return Excess(limit, figure, allowed) if allowed is not None and figure > allowed else None


class _MemoryWatch:
    """Memory: as the kernel counts it for a group, or measured when a cheap bound is too high."""

    def __init__(
        self, limit_mb: Optional[float], tree: ProcessTree, group: Optional[ControlGroup]
    ) -> None:
        self._limit = None if limit_mb is None else limit_mb * _MB
        self._tree = tree
        self._group = group
        self.peak = 0  #: [bytes]
        self.is_near = False  #: more than half of the limit is used
        self._bound = 0  # at the last measurement
        self._own = 0
        self._not_before = 0.0

    def look(self, pids: list[int], now: float) -> Optional[Excess]:
        if self._limit is None:
            return None
        counted = None if self._group is None else self._group.own_bytes()
        if counted is not None:
            return self._judge(counted, self._limit)
        bound = self._tree.resident_bytes(pids)
        grown = self._own + bound - self._bound
        if bound <= self._limit or (grown <= self._limit and now < self._not_before):
            self.is_near = bound > self._limit / 2
            return None
        self._measure(pids, bound)
        return self._judge(self._own, self._limit)

    def look_back(self) -> Optional[Excess]:
        """Tell whether the kernel has ended a process for its memory, of whatever kind."""
        if self._limit is None or self._group is None or not self._group.is_exhausted:
            return None
        return self._excess(max(self.peak, self._limit), self._limit)

    def _judge(self, n_bytes: int, limit: float) -> Optional[Excess]:
        self.peak = max(self.peak, n_bytes)
        self.is_near = n_bytes > limit / 2
        return self._excess(n_bytes, limit) if n_bytes > limit else self.look_back()

    def _excess(self, n_bytes: float, limit: float) -> Excess:
        in_files = min(self._tree.file_bytes(), n_bytes)
        return Excess("memory", n_bytes / _MB, limit / _MB, in_files / _MB)

    def _measure(self, pids: list[int], bound: int) -> None:
        begun_at = time.monotonic()
        self._own = self._tree.own_bytes(pids)
        self._bound = bound
        now = time.monotonic()
        self._not_before = now + THRIFT * (now - begun_at)


class _DiskWatch:
    """Files, by walks that are spread over many looks."""

    def __init__(self, limits: Limits, folders: Sequence[Path]) -> None:
        self._limits = limits
        self._folders = folders
        self._walk: Optional[Iterator[DiskUse]] = None
        self._not_before = time.monotonic() + WALK_INTERVAL

    @property
    def is_walking(self) -> bool:
        return self._walk is not None

    def look(self, now: float) -> Optional[Excess]:
        if not self._is_limited or now < self._not_before:
            return None
        self._walk = self._walk or walk(self._folders)
        use = next(self._walk, None)
        if use is None:
            self._walk = None
            self._not_before = now + WALK_INTERVAL
            return None
        return self._judge(use)

    def look_back(self, until: float) -> Optional[Excess]:
        self._walk = None  # closes the folders that it had open
        if not self._is_limited:
            return None
        for use in walk(self._folders):
            excess = self._judge(use)
            if excess is not None or time.monotonic() > until:
                return excess
        return None

    @property
    def _is_limited(self) -> bool:
        return (self._limits.output_mb, self._limits.n_files) != (None, None)

    def _judge(self, use: DiskUse) -> Optional[Excess]:
        return (
            _over("output_mb", use.n_bytes / _MB, self._limits.output_mb)
            or _over("n_files", use.n_files, self._limits.n_files)
            or _over("path_length", use.longest, MAX_PATH - 257)
        )
