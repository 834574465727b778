"""Measure how soon a participant has a score: from the submission to its score in the database.

::

    python -m benchmarks.latency [--json FILE] [--submissions N]

An idle ``ramp launch dispatcher`` evaluates the starting kit of iris, one at a time: with
its servers, and with each step started anew, which is the baseline of the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

from benchmarks.deployed import Deployed, deployed

#: Pause between two looks for the score [s]; what it adds to a figure is half of it.
LOOK_SECONDS = 0.005


def latencies(deployment: Deployed, label: str, n: int) -> list[float]:
    """Submit one at a time to a dispatcher that has nothing else to do; seconds of each."""
    with deployment.dispatching():
        taken = [once(deployment, f"{label}_{number}") for number in range(n + 1)]
    return taken[1:]  # the first one finds everything cold


def once(deployment: Deployed, name: str) -> float:
    (submission,) = deployment.submit([name])
    started_at = time.monotonic()
    while not deployment.is_scored(submission):
        time.sleep(LOOK_SECONDS)
    seconds = time.monotonic() - started_at
    time.sleep(0.3)  # until the dispatcher has nothing to do again
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--submissions", type=int, default=15)
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    with deployed("iris") as deployment:
        for is_warm in (False, True):
            deployment.configure(is_warm=is_warm)
            taken = latencies(deployment, f"warm_{is_warm}", options.submissions)
            key = "servers" if is_warm else "each started anew (baseline)"
            figures[key] = {"median": statistics.median(taken), "largest": max(taken)}
    baseline = figures["each started anew (baseline)"]["median"]
    print(f"{'submitted to scored':30} {'median, s':>10} {'largest, s':>11} {'x baseline':>11}")
    for key, row in figures.items():
        ratio = row["median"] / baseline
        print(f"{key:30} {row['median']:10.3f} {row['largest']:11.3f} {ratio:11.2f}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
