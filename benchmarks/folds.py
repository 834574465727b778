"""Measure how much sooner a submission is scored when its folds run side by side.

::

    python -m benchmarks.folds [--json FILE] [--repeat N]

An idle ``ramp launch dispatcher`` with its servers evaluates a submission of digits, from
`submit` to the score; each of the eight folds trains for about a second on one core. One fold after
another is the baseline of the same run, in turns, so that other load meets both. What this machine
gives for two processes that train at once stands beside: no more can be had.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.deployed import Deployed, deployed
from benchmarks.latency import latencies
from ramp_database.submissions import SubmissionFile

#: A forest of so many trees grows in about a second.
N_TREES = 550

#: Prints the seconds of the same training in one process, and in two at once.
PURE = """
import os, sys, time
import numpy as np
from sklearn.ensemble import RandomForestClassifier
images, labels = np.random.default_rng(1).random((1300, 64)), np.arange(1300) % 10
def start():
    pid = os.fork()
    if pid == 0:
        forest = RandomForestClassifier(int(sys.argv[1]), max_depth=6, random_state=61)
        forest.fit(images, labels)
        os._exit(0)
    return pid
def seconds(n):
    started_at = time.monotonic()
    for pid in [start() for _ in range(n)]:
        os.waitpid(pid, 0)
    return time.monotonic() - started_at
seconds(1)
print(seconds(1), seconds(2))
"""

BASELINE = "one after another (baseline)"
SIDE_BY_SIDE = "two side by side"


def gain_of_two_processes() -> float:
    """Tell how much more two processes do at once than one."""
    command = [sys.executable, "-c", PURE, str(N_TREES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    alone, both = map(float, done.stdout.split())
    return 2 * alone / both


def use_large_forest(deployment: Deployed) -> None:
    """Have the starting kit submitted with more trees."""
    (file,) = deployment.files
    text = file.content.decode().replace("n_estimators=100", f"n_estimators={N_TREES}")
    assert str(N_TREES) in text
    deployment.files = [SubmissionFile(file.path, text.encode())]


def measure(repeat: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {BASELINE: [], SIDE_BY_SIDE: []}
    gains = []
    with deployed("digits") as deployment:
        use_large_forest(deployment)
        for turn in range(repeat):
            for n_jobs, key in enumerate(taken, start=1):
                deployment.configure(n_jobs=n_jobs)
                taken[key] += latencies(deployment, f"{turn}_{n_jobs}", 1)
            gains.append(gain_of_two_processes())
    figures = {key: statistics.median(seconds) for key, seconds in taken.items()}
    ratios = [one / two for one, two in zip(*taken.values(), strict=True)]
    return figures | {
        "times faster": statistics.median(ratios),
        "times faster that two processes are here (limit)": statistics.median(gains),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--repeat", type=int, default=3, help="Take the median of so many.")
    options = parser.parse_args()
    figures = measure(options.repeat)
    print(f"{'eight folds, submitted to scored':50} {'median':>8}")
    for key, figure in figures.items():
        print(f"{key:50} {figure:8.2f} {'s' if key in (BASELINE, SIDE_BY_SIDE) else ''}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
