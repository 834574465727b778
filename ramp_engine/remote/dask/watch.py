"""What is known of a Dask cluster's workers, and which of them have fallen silent.

The scheduler gives a worker up when its connection breaks; one that hangs, or whose network is cut,
only after five minutes (``worker-ttl``). For us it is silent when its heartbeats stop for a while.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import Any

from distributed import Client

from ramp_engine.remote.dask.places import Process, read_identity

__all__ = ["ClusterView"]


class ClusterView:
    """The workers of a cluster, asked for again when something has changed.

    Parameters
    ----------
    client : Client
        Asynchronous, connected.
    node_timeout : float
        After so many seconds without a heartbeat a worker counts as silent.
    facts : mapping
        Of the cluster, for each node.
    """

    def __init__(self, client: Client, node_timeout: float, facts: Mapping[str, Any]) -> None:
        #: What answers questions; Dask makes its methods as they are called.
        self.scheduler: Any = client.scheduler
        self._node_timeout = node_timeout
        self._processes: dict[str, Process] = {}
        self._beats: dict[str, tuple[float, float]] = {}
        self._is_stale = True
        self.silent: set[str] = set()
        self.facts = facts
        self.looked_at = 0.0  #: monotonic [s]

    def processes(self) -> list[Process]:
        """List the worker processes as last seen."""
        return list(self._processes.values())

    def allowed(self, node: str | None, avoid: Collection[str] = ()) -> list[str]:
        """Name the workers where a job may go; empty: wherever there is one.

        Of a job that has to avoid nodes, or be on one, it means that there is none.
        """
        if node is None and not self.silent and not avoid:
            return []
        return [
            process.address
            for process in self._processes.values()
            if node in (None, process.node)
            and process.node not in avoid
            and process.address not in self.silent
        ]

    async def fresh(self) -> list[Process]:
        """List the worker processes, asking only if some came or went."""
        return await self.look() if self._is_stale else self.processes()

    async def find(self, node: str) -> list[str]:
        """Name the workers of a node that was not known."""
        await self.look()
        return self.allowed(node)

    async def look(self) -> list[Process]:
        """Ask the scheduler for its workers."""
        self._is_stale = False
        identity = await self.scheduler.identity(n_workers=-1)
        self.looked_at = time.monotonic()
        self._processes = read_identity(identity)
        self._hear_beats(self.looked_at)
        return self.processes()

    def _hear_beats(self, now: float) -> None:
        """Note since when each worker has not been seen: by our own clock, as theirs may differ."""
        limit = max(self._node_timeout, 3 + len(self._processes) / 50)
        beats = {}
        for address, process in self._processes.items():
            seen, since = self._beats.get(address, (None, now))
            beats[address] = (process.last_seen, since if seen == process.last_seen else now)
        self._beats = beats
        self.silent = {address for address, (_, since) in beats.items() if now - since > limit}

    def node_of(self, address: str) -> str:
        """Name the node of a worker."""
        return Process(address, 0).node

    def is_silent(self, node: str) -> bool:
        """Whether nothing is heard of a node."""
        return not self.allowed(node)

    def came(self) -> None:
        """Note that a worker has come."""
        self._is_stale = True

    def went(self, address: str) -> str | None:
        """Note that a worker is gone; the node is returned if that was its last."""
        self._is_stale = True
        gone = self._processes.pop(address, None)
        if gone is None or any(p.node == gone.node for p in self._processes.values()):
            return None
        return gone.node
