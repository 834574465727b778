"""Memory of a dispatcher and of all that it has started, by proportional set size (PSS).

A page that n processes share counts 1/n in each, so that sums are what the machine gives away.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ramp_engine.evaluation.supervise import descendants

_PROC = Path("/proc")
#: Memory is taken as settled when it changes by less than this part within a look.
_SETTLED, _LOOK_SECONDS, _MAX_LOOKS = 0.005, 1.0, 60


def pss(pid: int) -> float:
    """Return the proportional memory of a process [MB of 2**20 bytes]; 0 when it has ended."""
    try:
        lines = (_PROC / f"{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0) / 1024


def high_water(pid: int) -> float:
    """Return the most resident memory that a process has had [MB]."""
    lines = (_PROC / f"{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) / 1024


def by_role(dispatcher: int) -> dict[str, float]:
    """Return the proportional memory of a dispatcher, its servers and the rest of its tree [MB].

    The processes that a score server keeps, and shares its pages with, count with it.
    """
    figures = {"dispatcher": pss(dispatcher), "fold server": 0.0, "score server": 0.0, "rest": 0.0}
    servers: set[str] = set()
    for pid in descendants(dispatcher):
        role = _server_role(pid)
        if role is None or (role in servers and role != "score server"):
            role = "rest"  # what is forked from a server has its command line
        servers.add(role)
        figures[role] += pss(pid)
    return {**figures, "all": sum(figures.values())}


def settled(dispatcher: int, is_reached: Callable[[], bool] = lambda: True) -> dict[str, float]:
    """Wait until something is reached and the memory no longer changes; return it by role.

    Raises
    ------
    RuntimeError
        It keeps changing, or is not reached.
    """
    before = by_role(dispatcher)
    for _ in range(_MAX_LOOKS):
        time.sleep(_LOOK_SECONDS)
        now = by_role(dispatcher)
        is_same = abs(now["all"] - before["all"]) <= _SETTLED * now["all"]
        if is_same and is_reached():
            return now
        before = now
    raise RuntimeError(f"the memory does not settle: {before}")


def _server_role(pid: int) -> str | None:
    try:
        words = (_PROC / f"{pid}/cmdline").read_text(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return None
    if words[1:2] != ["-I"] or words[3:4] != ["serve"]:
        return None
    return f"{words[words.index('--step') + 1]} server"
