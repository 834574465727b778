"""Measure what confinement costs a fold: fork, enter, exit, against a plain fork and exit.

::

    python -m benchmarks.sandbox [--json FILE] [--rounds N]

The levels take turns within each round, so that other load on the machine meets all of them. As
root the confined process becomes nobody. A level that the machine does not offer is named.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ramp_engine.evaluation.confine import Confinement, ConfinementError, enter
from ramp_engine.evaluation.probe import find_level

NOBODY = 65534
PLAIN = "plain"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    identity = {"uid": NOBODY, "gid": NOBODY} if os.geteuid() == 0 else {}
    offered = find_level(**identity)
    for refused in offered["refused"]:
        print(f"{refused['level']} is not offered: {refused['reason']}")
    left_out = {refused["level"] for refused in offered["refused"]}
    levels = [level for level in (PLAIN, "none", "landlock", "namespaces") if level not in left_out]
    figures = measure(levels, identity, options.rounds)
    for level, milliseconds in figures.items():
        ratio = milliseconds / figures[PLAIN]
        print(f"{level:11} {milliseconds:7.2f} ms  {ratio:6.1f} x plain")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(levels: list[str], identity: dict[str, int], rounds: int) -> dict[str, float]:
    """Return the median [ms] of each level."""
    taken: dict[str, list[float]] = {level: [] for level in levels}
    with tempfile.TemporaryDirectory() as folder:
        if identity:
            os.chown(folder, identity["uid"], identity["gid"])
        for _ in range(rounds):
            for level in levels:
                taken[level].append(once(level, folder, identity))
    return {level: statistics.median(times) for level, times in taken.items()}


def once(level: str, folder: str, identity: dict[str, int]) -> float:
    """Return how long one process takes to be there, confined, and gone [ms]."""
    read = [sys.prefix, sys.base_prefix] if level == "namespaces" else []
    plan: dict[str, Any] = {"read": read, "write": [folder], "tmp_mb": 64, **identity}
    ours, theirs = socket.socketpair()
    status, write_status = os.pipe()
    start = time.perf_counter()
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            if level != PLAIN:
                enter(Confinement(level=level, **plan), theirs.detach(), write_status, keep=[])
            code = 0
        except ConfinementError as error:
            print(f"{level}: {error} {error.hint}", file=sys.stderr)
        finally:
            os._exit(code)
    code = os.waitpid(pid, 0)[1]
    milliseconds = (time.perf_counter() - start) * 1000
    assert code == 0, f"{level} ended with status {code}"
    for descriptor in (status, write_status):
        os.close(descriptor)
    ours.close()
    theirs.close()
    return milliseconds


if __name__ == "__main__":
    main()
