"""Measure how fast a queue of submissions is worked off.

::

    python -m benchmarks.throughput [--json FILE] [--events iris digits] [--repeat N] [--quick]

Each figure is seconds a submission, from the start of ``ramp launch dispatcher`` for a queue to
its end, its own start and that of its servers included; beside it stand the CPU seconds of all
processes, which other work on the machine changes less. Libraries have one thread everywhere.
Two baselines of the same run:

* the cold loop ``for s in ...: ramp-test --save-output``, what RAMP does for each submission;
* the limit: what training and predicting the folds takes inside one process that is warm,
  divided by the cores that the workers have (what is done besides may use others).
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from benchmarks.deployed import ENVIRONMENT, Deployed, deployed

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
    started_at, cpu_before = time.monotonic(), time.process_time()
    for train, valid in inputs.folds:
        model = workflow.train_submission(sys.argv[3], inputs.X, inputs.y, train)
        workflow.test_submission(model, inputs.X)
        workflow.test_submission(model, X_test)
    seconds, cpu_seconds = time.monotonic() - started_at, time.process_time() - cpu_before
print(seconds, cpu_seconds)
"""


@dataclass(frozen=True)
class Cost:
    """What a submission takes [s]."""

    seconds: float
    cpu_seconds: float

    @classmethod
    def of(cls, work: Callable[[], object], n: int = 1) -> Cost:
        """Measure what work on so many submissions takes, which is done in child processes."""
        started_at, cpu_before = time.monotonic(), _cpu_of_children()
        work()
        cpu_seconds = _cpu_of_children() - cpu_before
        return cls((time.monotonic() - started_at) / n, cpu_seconds / n)

    @classmethod
    def median(cls, costs: Sequence[Cost]) -> Cost:
        """Return the median of each figure."""
        wall = statistics.median(cost.seconds for cost in costs)
        return cls(wall, statistics.median(cost.cpu_seconds for cost in costs))


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def queue(deployment: Deployed, label: str, n: int) -> Cost:
    """Work off a queue; give the cost of a submission."""
    ids = deployment.submit([f"{label}_{number}" for number in range(n)])
    command = ["launch", "dispatcher", "--event-config", str(deployment.config)]
    cost = Cost.of(lambda: deployment.ramp(*command, "--exit-when-done"), n)
    deployment.check_scored(ids)
    return cost


def cold_loop(deployment: Deployed) -> Cost:
    """Run the kit's own command; give the cost of a submission."""
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
        options = {"cwd": deployment.event / "data", "capture_output": True, "env": ENVIRONMENT}
        run = partial(subprocess.run, command, check=True, **options)
        taken.append(Cost.of(run))
    return Cost.median(taken)


def pure(deployment: Deployed) -> Cost:
    """Train and predict in one warm process; give the cost of a submission."""
    (bundle,) = (deployment.event / "work" / "bundles").glob("*/public")
    root = str(Path(__file__).parents[1])
    submission = str(deployment.event / "kit" / "submissions" / "starting_kit")
    command = [sys.executable, "-c", PURE, root, str(bundle), submission]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    seconds, cpu_seconds = map(float, done.stdout.split()[-2:])
    return Cost(seconds, cpu_seconds)


def measure(name: str, repeat: int, *, is_quick: bool) -> dict[str, Cost]:
    """Take the figures of one event, in turns, so that other load meets all of them."""
    taken: dict[str, list[Cost]] = {}
    with deployed(name) as deployment:
        for turn in range(repeat):
            for is_warm in (True,) if is_quick else (True, False):
                for n_workers in (1, 2):
                    deployment.configure(is_warm=is_warm, n_workers=n_workers)
                    key = f"{'servers' if is_warm else 'each started anew'}, {n_workers} worker(s)"
                    n = N_SUBMISSIONS[name] if is_warm else N_SUBMISSIONS[name] // 4
                    label = f"{turn}_{is_warm}_{n_workers}"
                    taken.setdefault(key, []).append(queue(deployment, label, n))
            taken.setdefault("cold ramp-test (baseline)", []).append(cold_loop(deployment))
            taken.setdefault("training alone (limit)", []).append(pure(deployment))
    return {key: Cost.median(costs) for key, costs in taken.items()}


def print_table(name: str, figures: dict[str, Cost]) -> None:
    cold = figures["cold ramp-test (baseline)"].seconds
    limit = figures["training alone (limit)"].seconds
    print(f"{name:36} {'s a':>12} {'CPU s a':>12} {'x faster than':>15} {'part of':>12}")
    print(f"{'':36} {'submission':>12} {'submission':>12} {'the cold loop':>15} {'the limit':>12}")
    for key, cost in figures.items():
        cores = 2 if "2 worker" in key else 1
        ratios = f"{cold / cost.seconds:15.2f} {limit / cores / cost.seconds:12.2f}"
        print(f"{key:36} {cost.seconds:12.3f} {cost.cpu_seconds:12.3f} {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    names = list(N_SUBMISSIONS)
    parser.add_argument("--events", nargs="+", choices=names, default=names)
    parser.add_argument("--repeat", type=int, default=3, help="Take the median of so many.")
    parser.add_argument("--quick", action="store_true", help="Once, and with servers only.")
    options = parser.parse_args()
    figures = {}
    for name in options.events:
        repeat = 1 if options.quick else options.repeat
        costs = measure(name, repeat, is_quick=options.quick)
        print_table(name, costs)
        figures[name] = {key: asdict(cost) for key, cost in costs.items()}
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
