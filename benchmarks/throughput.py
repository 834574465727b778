"""Measure how fast a queue of submissions is worked off.

::

    python -m benchmarks.throughput [--json FILE] [--events iris digits] [--repeat N]

Each figure is seconds a submission, from the start of ``ramp launch dispatcher`` for a queue to
its end, its own start and that of its servers included. Two baselines of the same run stand beside:

* the cold loop ``for s in ...: ramp-test --save-output``, what RAMP does for each submission;
* the limit: what training and predicting the folds takes inside one process that is warm,
  divided by the cores that the workers have.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.deployed import Deployed, deployed

N_SUBMISSIONS = {"iris": 60, "digits": 20}
N_COLD = 5  #: runs of the cold loop, which takes the same for each submission

#: Trains and predicts all folds, as the fold step does, without a process of its own for anything.
PURE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ramp_engine.evaluation import bundle
from ramp_engine.evaluation.fold import load_inputs
inputs = load_inputs(Path(sys.argv[2]))
X_test = bundle.load(Path(sys.argv[2], "test"), "X", inputs.problem)
workflow = inputs.problem.workflow
for _ in range(2):  # what is imported by the first is paid for by the first
    started_at = time.monotonic()
    for train, valid in inputs.folds:
        model = workflow.train_submission(sys.argv[3], inputs.X, inputs.y, train)
        workflow.test_submission(model, inputs.X)
        workflow.test_submission(model, X_test)
    seconds = time.monotonic() - started_at
print(seconds)
"""


def queue(deployment: Deployed, label: str, n: int) -> float:
    """Work off a queue; give the seconds a submission."""
    ids = deployment.submit([f"{label}_{number}" for number in range(n)])
    started_at = time.monotonic()
    deployment.ramp(
        "launch", "dispatcher", "--event-config", str(deployment.config), "--exit-when-done"
    )
    seconds = time.monotonic() - started_at
    deployment.check_scored(ids)
    return seconds / n


def cold_loop(deployment: Deployed) -> float:
    """Run the kit's own command; give the seconds a submission."""
    submissions = deployment.root / "ramp-test"
    source = deployment.event / "kit" / "submissions" / "starting_kit"
    taken = []
    for number in range(N_COLD):
        shutil.copytree(source, submissions / f"cold_{number}", dirs_exist_ok=True)
        command = [
            str(Path(sys.executable).with_name("ramp-test")), "--save-output",
            "--submission", f"cold_{number}", "--ramp-submission-dir", str(submissions),
            "--ramp-kit-dir", str(deployment.event / "kit"), "--ramp-data-dir", ".",
        ]  # fmt: skip
        started_at = time.monotonic()
        subprocess.run(
            command, cwd=deployment.event / "data", check=True, capture_output=True, env=_ONE_THREAD
        )
        taken.append(time.monotonic() - started_at)
    return statistics.median(taken)


def pure(deployment: Deployed) -> float:
    """Train and predict in one warm process; give the seconds a submission."""
    (bundle,) = (deployment.event / "work" / "bundles").glob("*/public")
    root = str(Path(__file__).parents[1])
    submission = str(deployment.event / "kit" / "submissions" / "starting_kit")
    command = [sys.executable, "-c", PURE, root, str(bundle), submission]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=_ONE_THREAD)
    return float(done.stdout.splitlines()[-1])


_ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def measure(name: str, repeat: int) -> dict[str, float]:
    """Take the figures of one event, in turns, so that other load meets all of them."""
    taken: dict[str, list[float]] = {}
    with deployed(name) as deployment:
        for turn in range(repeat):
            for is_warm in (True, False):
                for n_workers in (1, 2):
                    deployment.configure(is_warm=is_warm, n_workers=n_workers)
                    key = f"{'servers' if is_warm else 'each started anew'}, {n_workers} worker(s)"
                    n = N_SUBMISSIONS[name] if is_warm else N_SUBMISSIONS[name] // 4
                    label = f"{turn}_{is_warm}_{n_workers}"
                    taken.setdefault(key, []).append(queue(deployment, label, n))
            taken.setdefault("cold ramp-test (baseline)", []).append(cold_loop(deployment))
            taken.setdefault("training alone (limit)", []).append(pure(deployment))
    return {key: statistics.median(seconds) for key, seconds in taken.items()}


def print_table(name: str, figures: dict[str, float]) -> None:
    cold, limit = figures["cold ramp-test (baseline)"], figures["training alone (limit)"]
    print(f"{name:36} {'s a submission':>15} {'x faster than':>15} {'part of':>12}")
    print(f"{'':36} {'':>15} {'the cold loop':>15} {'the limit':>12}")
    for key, seconds in figures.items():
        cores = 2 if "2 worker" in key else 1
        print(f"{key:36} {seconds:15.3f} {cold / seconds:15.2f} {limit / cores / seconds:12.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    names = list(N_SUBMISSIONS)
    parser.add_argument("--events", nargs="+", choices=names, default=names)
    parser.add_argument("--repeat", type=int, default=3, help="Take the median of so many.")
    options = parser.parse_args()
    figures = {}
    for name in options.events:
        figures[name] = measure(name, options.repeat)
        print_table(name, figures[name])
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
