"""Where a job can run on a Dask cluster: what workers declare, and what a job asks for.

A job takes one thread of a worker process. What it needs beyond that is counted by Dask only if the
workers were started with ``--resources``; CPU is counted as soon as all of them declare it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from distributed.comm import get_address_host

from ramp_engine.remote.dask.task import Slots
from ramp_engine.remote.engine import Demands, Node

__all__ = ["Process", "list_nodes", "read_identity", "refusal", "resources_for", "slots_of"]


@dataclass(frozen=True)
class Process:
    """One worker process, as the scheduler knows it."""

    address: str
    n_threads: int
    resources: Mapping[str, float] = field(default_factory=dict)
    memory_bytes: int = 0  #: 0: no limit
    status: str = "running"
    last_seen: float = 0.0  #: by the scheduler's clock

    @property
    def node(self) -> str:
        """Name of the machine."""
        return str(get_address_host(self.address))

    def n_slots(self, resources: Mapping[str, float]) -> int:
        """Count the jobs that fit, each with such resources."""
        fits = [self.n_threads]
        fits += [
            math.floor(self.resources.get(name, 0) / amount + 1e-9)
            for name, amount in resources.items()
        ]
        return min(fits)


def read_identity(identity: Mapping[str, Any]) -> dict[str, Process]:
    """Read what the scheduler says of its workers; from the address."""
    return {
        str(address): Process(
            str(address),
            int(facts["nthreads"]),
            dict(facts["resources"]),
            int(facts["memory_limit"] or 0),
            str(facts["status"]),
            float(facts["last_seen"]),
        )
        for address, facts in identity["workers"].items()
    }


def resources_for(demands: Demands, processes: Iterable[Process]) -> dict[str, float]:
    """Say what Dask has to count for a job.

    Returns
    -------
    dict
        From the name to the amount: CPU where a job needs more than one, or where all workers
        declare it; GPU; MEMORY in bytes, as Dask's documentation declares it; the operator's own.
    """
    has_all_cpu = bool(declared := [p.resources for p in processes]) and all(
        "CPU" in resources for resources in declared
    )
    wanted = dict(demands.resources)
    if demands.cpus > 1 or has_all_cpu:
        wanted["CPU"] = demands.cpus
    if demands.gpus:
        wanted["GPU"] = demands.gpus
    if demands.memory_mb:
        wanted["MEMORY"] = demands.memory_mb * 2**20
    return wanted


def slots_of(processes: Iterable[Process], resources: Mapping[str, float]) -> Slots:
    """Count the slots of each node."""
    per_node: Counter[str] = Counter()
    for process in processes:
        per_node[process.node] += process.n_slots(resources)
    usual = Counter(per_node.values()).most_common(1)[0][0] if per_node else 1
    return Slots(usual, {node: n for node, n in per_node.items() if n != usual})


def refusal(demands: Demands, processes: Iterable[Process]) -> str | None:
    """Say why no worker that there is can ever run a job; None: one can, or there is no worker."""
    there = list(processes)
    if demands.labels:
        return f"the job asks for labels ({dict(demands.labels)}), which Dask's workers have not"
    wanted = resources_for(demands, there)
    if not there or any(process.n_slots(wanted) for process in there):
        return None
    text = " ".join(f"{name}={amount:.10g}" for name, amount in wanted.items())
    return (
        f"no Dask worker offers {text}, which a fold asks for: they declare {_declared(there)}. "
        f'Start workers with: dask worker SCHEDULER --resources "{text}" (or more of each)'
    )


def _declared(processes: Iterable[Process]) -> str:
    kinds = Counter(
        " ".join(f"{name}={amount:.10g}" for name, amount in process.resources.items()) or "nothing"
        for process in processes
    )
    return "; ".join(f"{text} ({n} of them)" for text, n in kinds.most_common(5))


def list_nodes(
    processes: Iterable[Process],
    demands: Demands,
    processing: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> list[Node]:
    """Gather worker processes into nodes.

    Parameters
    ----------
    processes : iterable of Process
    demands : Demands
        Of the jobs that slots are counted for.
    processing : mapping
        From the address of a worker to the keys that it has in hand, anybody's.
    facts : mapping
        Of the cluster, for each node.
    """
    there = list(processes)
    wanted = resources_for(demands, there)
    by_node: dict[str, list[Process]] = {}
    for process in there:
        by_node.setdefault(process.node, []).append(process)
    return [
        _node(name, members, wanted, processing, facts) for name, members in sorted(by_node.items())
    ]


def _node(
    name: str,
    members: list[Process],
    wanted: Mapping[str, float],
    processing: Mapping[str, Any],
    facts: Mapping[str, Any],
) -> Node:
    running = [process for process in members if process.status == "running"]
    free = [max(0, p.n_slots(wanted) - len(processing.get(p.address, ()))) for p in running]
    own = {
        "cpus": sum(p.resources.get("CPU", p.n_threads) for p in members),
        "gpus": sum(p.resources.get("GPU", 0) for p in members),
        "memory_mb": sum(p.memory_bytes for p in members) // 2**20,
        "n_processes": len(members),
        "resources": dict(sum((Counter(p.resources) for p in members), Counter())),
    }
    return Node(
        name=name,
        host=name,
        n_slots=sum(process.n_slots(wanted) for process in members),
        n_free=sum(free),
        facts={**facts, **own},
        is_leaving=any(p.status.startswith("closing") for p in members),
    )
