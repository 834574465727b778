"""Check the cluster that folds run on: its nodes, each of which runs a fold of the starting kit."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ramp_engine import registry
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.kit import deployed_bundle
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.errors import WorkerError
from ramp_engine.evaluation.scratch import STEP, scratch_directory
from ramp_engine.preparation import Bundle, scratch_dir
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.worker import RemoteWorker

__all__ = ["runs_folds"]

#: So many nodes are tried at a time.
MAX_TRIALS = 32
#: How long the list of nodes may take, in seconds.
LIST_SECONDS = 120.0
_SUBMISSION = "starting_kit"


def runs_folds(event: PatientEvent) -> Iterator[Finding]:
    """List the nodes of the cluster, and have each run a fold; of workers of a cluster only."""
    if event.config is None:
        return
    worker_class = registry.worker_class(event.config.worker_type)
    if not issubclass(worker_class, RemoteWorker):
        return
    config = event.config.worker_config()
    try:
        with GatewayClient(worker_class.engine, config) as client:
            nodes = client.ask("nodes", LIST_SECONDS)["nodes"]
            yield from _described(nodes)
            yield from _tried(event, worker_class, client, nodes)
    except WorkerError as error:
        yield problem(Kind.CLUSTER_AWAY, error.reason, error.hint)


def _described(nodes: list[dict[str, Any]]) -> Iterator[Finding]:
    if not nodes:
        yield warning(
            Kind.NO_NODES,
            "the cluster has no node now",
            "start its workers, unless it starts them by itself",
        )
    elif not any(node["n_slots"] for node in nodes):
        yield warning(
            Kind.NO_ROOM,
            "no fold fits on any node that is there now",
            "compare what the section "
            "worker asks for with what the nodes have, unless others start by themselves",
        )
    for node in nodes:
        if node["fault"]:
            remedy = "install the same versions on both, and start it again"
            yield problem(Kind.NODE_REFUSED, node["fault"], remedy)
        elif node["is_leaving"]:
            message = f"{_facts(node)}; it was asked to leave"
            yield warning(Kind.NODE_LEAVING, message, "start another one")
        elif not node["n_slots"]:
            yield ok(f"node {_name(node)}: no fold fits on it, and none is tried")
        else:
            yield ok(_facts(node))


def _facts(node: Mapping[str, Any]) -> str:
    """Describe a node in one line."""
    facts = node["facts"]
    engines = [f"{name} {version}" for name, version in (facts.get("engine") or {}).items()]
    parts = [
        f"{facts.get('cpus', 0):g} cores",
        f"{(facts.get('memory_mb') or 0) / 1024:.1f} GB",
        f"{_count(facts.get('gpus'))} GPUs",
        f"{node['n_free']} of {node['n_slots']} slots free",
        f"Python {facts.get('python')}",
        f"ramp {facts.get('ramp')}",
        *engines,
        f"confined by {facts.get('level')}",
    ]
    return f"node {_name(node)}: {', '.join(parts)}"


def _name(node: Mapping[str, Any]) -> str:
    host = node["facts"].get("hostname") or node["host"]
    return str(node["name"]) if host == node["name"] else f"{node['name']} ({host})"


def _count(gpus: Any) -> int:
    return len(gpus) if isinstance(gpus, list) else int(gpus or 0)


@dataclass(frozen=True)
class _Trial:
    """A fold of the starting kit, on a node of one's choice."""

    event: PatientEvent
    worker_class: type[RemoteWorker]
    client: GatewayClient
    bundle: Bundle
    folder: Path

    def run(self, node: str) -> Finding:
        """Run it, and tell how it went."""
        assert self.event.config is not None  # noqa: S101  it is of this event
        root = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copytree(
            self.event.config.ramp.sandbox_dir,
            root / "submissions" / _SUBMISSION,
            ignore=shutil.ignore_patterns("__pycache__", "training_output"),
        )
        places = ("submissions", "predictions", "logs")
        config = self.event.config.worker_config() | {
            **{f"{place}_dir": str(root / place) for place in places},
            "bundle_dir": str(self.bundle.public),
            "n_folds": self.bundle.n_folds,
            "folds": [0],
            "node": node,
        }
        worker = self.worker_class(config, _SUBMISSION)
        worker.shared = self.client
        started_at = time.monotonic()
        try:
            returncode, error_msg = worker.launch()
        except (WorkerError, OSError) as error:
            message = f"node {node}: no fold of the starting kit runs: {error}"
            return problem(Kind.NODE_FAILS, message, "")
        seconds = time.monotonic() - started_at
        if returncode:
            reason = error_msg.partition("\n")[0]
            message = f"node {node}: a fold of the starting kit fails: {reason}"
            remedy = "ramp test --submission starting_kit shows whether it does so"
            return problem(Kind.NODE_FAILS, message, remedy)
        return ok(f"node {node}: a fold of the starting kit took {seconds:.1f} s")


def _tried(
    event: PatientEvent,
    worker_class: type[RemoteWorker],
    client: GatewayClient,
    nodes: list[dict[str, Any]],
) -> Iterator[Finding]:
    bundle = deployed_bundle(event)
    if bundle is None or not bundle.exists:
        message = "no fold is tried: there is no bundle yet"
        yield warning(Kind.NODES_UNTRIED, message, event.deploy_command())
        return
    assert event.config is not None  # noqa: S101  the caller has looked
    names = [
        node["name"]
        for node in nodes
        if node["n_slots"] and not node["fault"] and not node["is_leaving"]
    ]
    with scratch_directory(scratch_dir(event.config), STEP) as folder:
        trial = _Trial(event, worker_class, client, bundle, folder)
        with ThreadPoolExecutor(MAX_TRIALS) as pool:
            yield from pool.map(partial(_Trial.run, trial), names)
