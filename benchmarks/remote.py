"""Measure what a cluster costs beside the local worker: the same queues, on the same two cores.

::

    python -m benchmarks.remote [--json FILE] [--engines dask ray] [--nodes 1 2] [--repeat N]

For each engine a cluster with two cores runs on this machine, before the dispatcher and after it,
as one of an operator does: one node with both, and two nodes with one each. The aims are those of
one node, which has what the local worker has: two cores, and what a node has once (an agent, the
probes of confinement and environment, a fold server with its imports) once. Two nodes have all of
it twice on the same two cores, which two machines would not; they show the price of a node, and
the folds go through the same code. The baselines, in turns in the same run:

* the local worker with two submissions at once, for the queues;
* for the engine's part, its own tasks that do nothing, one after the other and all at once;
* for the gain of a second core, the same submission of eight folds of a second each on one core.

Seconds are from the start of ``ramp launch dispatcher`` for a queue to its end. The dispatcher's
share of a core is the CPU time of its own process, without those that it starts.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.deployed import ENVIRONMENT, ROOT, Deployed, deployed
from benchmarks.folds import use_large_forest
from tests.remote.dask_cluster import DaskCluster
from tests.remote.ray_cluster import RayCluster

ENGINES = ("dask", "ray")
N_CORES = 2
N_SUBMISSIONS = {"iris": 60, "digits": 10}
#: Aims, on one node: wall time against the local worker, share of a core, gain of two cores.
MOST_TIMES_LOCAL, MOST_SHARE, LEAST_GAIN = 1.3, 0.05, 1.7

#: Prints the seconds of a task that does nothing, one at a time and many at once.
NO_OPS = {
    "dask": """
import sys, time
from distributed import Client
client = Client(sys.argv[1])
def nothing(number):
    return number
""",
    "ray": """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="ERROR")
@ray.remote(max_retries=0)
def nothing(number):
    return number
""",
}
RUN = {
    "dask": "client.gather(client.map(nothing, {numbers}, pure=False))",
    "ray": "ray.get([nothing.remote(number) for number in {numbers}])",
}
TIMES = """
{setup}
{warm}
started_at = time.monotonic()
for number in range(50):
    {one}
middle = time.monotonic()
{many}
print((middle - started_at) / 50, (time.monotonic() - middle) / 500)
"""


@dataclass(frozen=True)
class Queue:
    """What working off a queue has taken."""

    seconds: float  #: in total
    dispatcher_share: float  #: of a core


def dispatcher_run(deployment: Deployed, n_submissions: int, label: str) -> Queue:
    """Work off a queue, and read what the dispatcher's own process has used."""
    ids = deployment.submit([f"{label}_{number}" for number in range(n_submissions)])
    command = [sys.executable, "-m", "ramp_engine", "launch", "dispatcher"]
    command += ["--event-config", str(deployment.config), "--exit-when-done"]
    environment = {**ENVIRONMENT, "PYTHONPATH": str(ROOT)}
    started_at = time.monotonic()
    with (deployment.root / "log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=deployment.root, env=environment, stdout=log, stderr=log
        )
        cpu_seconds = _watch_cpu(process)
    seconds = time.monotonic() - started_at
    if process.returncode != 0:
        raise RuntimeError((deployment.root / "log").read_text()[-2000:])
    deployment.check_scored(ids)
    return Queue(seconds, cpu_seconds / seconds)


def _watch_cpu(process: subprocess.Popen[bytes]) -> float:
    """Wait for the end of a process; give its own CPU seconds, as last seen before it."""
    seen = 0.0
    while process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            seen = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK") or seen
        time.sleep(0.05)
    return seen


@contextlib.contextmanager
def cluster(engine: str, n_nodes: int = 1) -> Iterator[str]:
    """Run a cluster of nodes that share the cores; give its address."""
    n_cores = N_CORES // n_nodes
    if engine == "dask":
        with DaskCluster(n_nodes, n_threads=n_cores) as dask:
            yield dask.address
    else:
        nodes = {f"node{number}": [f"--num-cpus={n_cores}"] for number in range(n_nodes)}
        with RayCluster(nodes) as ray:
            yield ray.address


def configure(deployment: Deployed, engine: str, address: str) -> None:
    """Have the event's folds run on a cluster, or locally."""
    if engine == "local":
        deployment.configure(n_workers=2)
        return
    deployment.configure(n_workers=3)  # so that a slot has a fold while others are collected
    key = {"dask": "dask_scheduler", "ray": "ray_address"}[engine]
    text = deployment.config.read_text()
    keys = f"worker_type: {engine}, {key}: '{address}'"
    deployment.config.write_text(text.replace("worker_type: local", keys))


def no_op_rate(engine: str, address: str) -> dict[str, float]:
    """Give the seconds of a task that does nothing."""
    run = RUN[engine]
    script = TIMES.format(
        setup=NO_OPS[engine],
        warm=run.format(numbers="range(20)"),
        one=run.format(numbers="[number]"),
        many=run.format(numbers="range(500)"),
    )
    command = [sys.executable, "-c", script, address]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=ENVIRONMENT)
    alone, together = map(float, done.stdout.split()[-2:])
    return {"no-op alone, s": alone, "no-op of 500 at once, s": together}


@dataclass(frozen=True)
class Shape:
    """A cluster that is measured."""

    engine: str
    n_nodes: int

    def __str__(self) -> str:
        return f"{self.engine}, {self.n_nodes} node{'s' if self.n_nodes > 1 else ''}"


def queues(shapes: list[Shape], repeat: int) -> dict[str, Any]:
    """Work off the queues of both events, cluster after cluster, in turns."""
    figures: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        events = {name: stack.enter_context(deployed(name)) for name in N_SUBMISSIONS}
        for shape in shapes:
            engine = shape.engine
            taken: dict[tuple[str, str], list[Queue]] = {}
            with cluster(engine, shape.n_nodes) as address:
                for turn in range(repeat):
                    for kind in ("local", engine):
                        for name, deployment in events.items():
                            configure(deployment, kind, address)
                            label = f"{engine}_{shape.n_nodes}_{turn}_{kind}"
                            queue = dispatcher_run(deployment, N_SUBMISSIONS[name], label)
                            taken.setdefault((name, kind), []).append(queue)
                rates = no_op_rate(engine, address)
            figures[str(shape)] = {"queues": _compared(taken, engine), **rates}
    return figures


def _compared(taken: dict[tuple[str, str], list[Queue]], engine: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in N_SUBMISSIONS:
        pairs = zip(taken[name, engine], taken[name, "local"], strict=True)
        found[name] = {
            "local": asdict(_median(taken[name, "local"])),
            "there": asdict(_median(taken[name, engine])),
            "times local": statistics.median(far.seconds / near.seconds for far, near in pairs),
        }
    return found


def _median(queues: list[Queue]) -> Queue:
    seconds = statistics.median(queue.seconds for queue in queues)
    return Queue(seconds, statistics.median(queue.dispatcher_share for queue in queues))


def gains(shapes: list[Shape]) -> dict[str, float]:
    """Tell how much sooner two cores are done with a submission of eight folds than one."""
    found = {}
    with deployed("digits") as deployment:
        use_large_forest(deployment)
        for shape in shapes:
            engine, label = shape.engine, f"{shape.engine}_{shape.n_nodes}"
            with cluster(engine, shape.n_nodes) as address:
                seconds = {}
                for n_cores in (1, 2):
                    configure(deployment, engine, address)
                    limit = f"max_folds: {n_cores}, worker_type"
                    text = deployment.config.read_text()
                    deployment.config.write_text(text.replace("worker_type", limit))
                    with deployment.dispatching():
                        deployment.wait_scored(deployment.submit([f"{label}_{n_cores}_warm"]))
                        started_at = time.monotonic()
                        deployment.wait_scored(deployment.submit([f"{label}_{n_cores}"]))
                        seconds[n_cores] = time.monotonic() - started_at
                found[str(shape)] = seconds[1] / seconds[2]
    return found


def aims(figures: dict[str, Any], shapes: list[Shape]) -> list[dict[str, Any]]:
    found = []
    for engine in (str(shape) for shape in shapes if shape.n_nodes == 1):
        for name, queue in figures["clusters"][engine]["queues"].items():
            ratio, share = queue["times local"], queue["there"]["dispatcher_share"]
            title = f"{engine}, {name}: x the local wall time"
            found.append(_aim(title, ratio, ratio <= MOST_TIMES_LOCAL, "at most", MOST_TIMES_LOCAL))
            title = f"{engine}, {name}: dispatcher's share of a core"
            found.append(_aim(title, share, share <= MOST_SHARE, "at most", MOST_SHARE))
        gain = figures["gains"][engine]
        title = f"{engine}: eight folds on two cores, x faster than on one"
        found.append(_aim(title, gain, gain >= LEAST_GAIN, "at least", LEAST_GAIN))
    return found


def _aim(title: str, figure: float, is_met: bool, side: str, limit: float) -> dict[str, Any]:
    return {"aim": title, side: limit, "figure": figure, "is_met": is_met}


def print_table(figures: dict[str, Any]) -> None:
    print(f"{'':22} {'s local':>10} {'s there':>10} {'x local':>8} {'share of a core':>16}")
    for engine, one in figures["clusters"].items():
        for name, queue in one["queues"].items():
            print(
                f"{engine + ', ' + name:22} {queue['local']['seconds']:10.1f} "
                f"{queue['there']['seconds']:10.1f} {queue['times local']:8.2f} "
                f"{queue['there']['dispatcher_share']:16.3f}"
            )
        print(
            f"{engine}: a no-op takes {1e3 * one['no-op alone, s']:.1f} ms alone, "
            f"{1e3 * one['no-op of 500 at once, s']:.2f} ms among 500; eight folds on two cores "
            f"are {figures['gains'][engine]:.2f} times faster than on one"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--nodes", nargs="+", type=int, choices=(1, 2), default=[1, 2])
    parser.add_argument("--repeat", type=int, default=1, help="Take the median of so many.")
    options = parser.parse_args()
    shapes = [Shape(engine, number) for engine in options.engines for number in options.nodes]
    clusters = queues(shapes, options.repeat)
    figures: dict[str, Any] = {"clusters": clusters, "gains": gains(shapes)}
    figures["aims"] = aims(figures, shapes)
    print_table(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
