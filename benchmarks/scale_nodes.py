"""Measure what many nodes cost the dispatcher's machine: folds that cost nothing, on 200 nodes.

::

    python -m benchmarks.scale_nodes [--json FILE] [--nodes 20 200 1000] [--folds 5000]

A real gateway process, with a real client and real workers, gives folds of eight to a submission
to a cluster that only exists in the gateway (see `simulated_cluster`): each takes two seconds and
leaves files as those of iris. What is measured is ours alone: CPU seconds of gateway and client,
and the time beyond what the folds have to take. The smallest cluster is the baseline of the run;
the cost of a fold should not depend on the number of nodes.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.process_memory import pss
from benchmarks.simulated_cluster import SLOTS
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.worker import RemoteWorker
from ramp_engine.testing import Scenario, ToyEvent

N_FOLDS = 8  #: of a submission
FOLD_SECONDS = 2.0
MOST_TIMES = 1.5  #: as costly may a fold be with the most nodes as with the fewest


class SimulatedWorker(RemoteWorker):
    """Its nodes are not there."""

    engine: ClassVar[str] = "benchmarks.simulated_cluster:open_engine"


def measure(event: ToyEvent, n_nodes: int, n_folds: int, folder: Path) -> dict[str, float]:
    """Run the folds on so many nodes."""
    n_runs = n_folds // N_FOLDS
    n_at_once = max(1, n_nodes * SLOTS // N_FOLDS)
    configs = [
        event.config(
            folder / f"{n_nodes}_{number}", f"submission_{number:09d}", Scenario.GOOD,
            simulated_nodes=n_nodes, simulated_seconds=FOLD_SECONDS, timeout=3600.0,
        )
        for number in range(n_runs)
    ]  # fmt: skip
    with GatewayClient(SimulatedWorker.engine, configs[0]) as client:
        client.ask("nodes")
        before = _cpu(client), _own_cpu()
        started_at = time.monotonic()
        with ThreadPoolExecutor(n_at_once) as pool:
            list(pool.map(lambda config: _run(config, client), configs))
        seconds = time.monotonic() - started_at
        after = _cpu(client), _own_cpu()
        megabytes = pss(client.pid or 0)
    least = FOLD_SECONDS * -(-n_runs // n_at_once)
    return {
        "nodes": n_nodes,
        "folds": n_runs * N_FOLDS,
        "seconds": seconds,
        "seconds beyond the folds": seconds - least,
        "gateway, CPU ms a fold": 1e3 * (after[0] - before[0]) / n_folds,
        "client and workers, CPU ms a fold": 1e3 * (after[1] - before[1]) / n_folds,
        "gateway, share of a core": (after[0] - before[0]) / seconds,
        "gateway, MB": megabytes,
        "threads of the client": float(threading.active_count()),
    }


def _run(config: Mapping[str, Any], client: GatewayClient) -> None:
    worker = SimulatedWorker(config, Path(next(Path(config["submissions_dir"]).iterdir())).name)
    worker.shared = client
    returncode, error = worker.launch()
    if returncode != 0:
        raise RuntimeError(f"a submission failed: {error}")


def _own_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _cpu(client: GatewayClient) -> float:
    """Give the CPU seconds of the gateway."""
    fields = Path(f"/proc/{client.pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / 100.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Also write the figures there.")
    parser.add_argument("--nodes", type=int, nargs="+", default=[20, 200])
    parser.add_argument("--folds", type=int, default=5000, help="With the most nodes.")
    options = parser.parse_args()
    most = max(options.nodes)
    rows = []
    with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as folder:
        event = ToyEvent.prepare(Path(folder, "event"), n_folds=N_FOLDS)
        for n_nodes in sorted(options.nodes):
            n_folds = max(N_FOLDS, options.folds * n_nodes // most // N_FOLDS * N_FOLDS)
            rows.append(measure(event, n_nodes, n_folds, Path(folder)))
    for key in rows[0]:
        print(f"{key:36}" + "".join(f"{row[key]:12.2f}" for row in rows))
    key = "gateway, CPU ms a fold"
    ratio = rows[-1][key] / rows[0][key]
    aim = {
        "aim": f"{most} nodes: x as costly for the gateway is a fold as with the fewest nodes",
        "at most": MOST_TIMES,
        "figure": ratio,
        "is_met": ratio <= MOST_TIMES,
    }
    if options.json:
        options.json.write_text(json.dumps({"rows": rows, "aims": [aim]}, indent=2) + "\n")


if __name__ == "__main__":
    main()
