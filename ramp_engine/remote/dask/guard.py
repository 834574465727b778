"""What befalls a Dask cluster, told to the jobs that it concerns: workers that leave, die, hang."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any

from distributed import Client

from ramp_engine.remote.dask.places import refusal
from ramp_engine.remote.dask.session import DaskSession
from ramp_engine.remote.dask.task import key_of
from ramp_engine.remote.dask.watch import ClusterView
from ramp_engine.remote.engine import Loss, NodeLeaving, NodeLost, Sink

__all__ = ["ClusterGuard"]

#: How often the connection is looked at, and the workers, while there are jobs [s].
_STATUS_SECONDS, _LOOK_SECONDS = 2.0, 5.0
_ANSWER_SECONDS = 60.0
#: Logged by a nanny just before it ends its worker for its memory.
_MEMORY_TOPIC = "worker-restart-memory"


class ClusterGuard:
    """Listens to the scheduler's events, and looks at the workers now and then while jobs run.

    Parameters
    ----------
    client : Client
    view : ClusterView
    sink : callable
        Takes what concerns nodes.
    start_timeout : float
        After so many seconds a job is given up that no worker could run all the time.
    """

    def __init__(self, client: Client, view: ClusterView, sink: Sink, start_timeout: float) -> None:
        self._client = client
        self._view = view
        self._sink = sink
        self._start_timeout = start_timeout
        self._leaving: dict[str, str] = {}  # from the address of a worker to the reason
        self._out_of_memory: set[str] = set()
        self._given_up: set[str] = set()
        self._listening: set[str] = set()
        self._had_place_at: dict[str, float] = {}

    def listen(self, session: DaskSession) -> None:
        """Begin to listen to the cluster's events."""
        self._session = session
        self._client.subscribe_topic(self._client.id, lambda event: session.hear(event[1]))
        self._client.subscribe_topic("all", lambda event: self._hear(event[1]))
        self._client.subscribe_topic(_MEMORY_TOPIC, lambda event: self._hear_memory(event[1]))
        self._listening |= {self._client.id, "all", _MEMORY_TOPIC}

    def heed(self, address: str) -> None:
        """Listen to a worker where a job of ours runs: whether it is asked to leave."""
        if address not in self._listening:
            self._listening.add(address)
            self._client.subscribe_topic(
                address, lambda event: self._hear_worker(address, event[1])
            )

    def deafen(self) -> None:
        """Stop listening: the scheduler forgets that we did."""
        for topic in list(self._listening):
            self._stop_listening(topic)

    def _stop_listening(self, topic: str) -> None:
        if topic in self._listening and self._client.status == "running":
            self._client.unsubscribe_topic(topic)
        self._listening.discard(topic)

    # Events

    def _hear(self, said: Any) -> None:
        if not isinstance(said, Mapping):
            return
        if said.get("action") == "add-worker":
            self._view.came()
        elif said.get("action") == "remove-worker":
            self._worker_left(str(said["worker"]), bool(said.get("expected")))

    def _hear_memory(self, said: Any) -> None:
        if isinstance(said, Mapping):
            self._out_of_memory.add(str(said.get("worker")))

    def _hear_worker(self, address: str, said: Any) -> None:
        if not isinstance(said, Mapping) or said.get("action") != "worker-status-change":
            return
        if str(said.get("status")).startswith("closing"):
            self._leaves(address, f"it is {str(said['status']).replace('_', ' ')}")

    def _leaves(self, address: str, reason: str) -> None:
        if address in self._leaving:
            return
        self._leaving[address] = reason
        self._sink(NodeLeaving(self._view.node_of(address), f"Dask worker {address}: {reason}"))

    def _worker_left(self, address: str, is_expected: bool) -> None:
        """Give up what ran there; what only waited there is placed elsewhere by Dask itself.

        That it leaves may not have been heard: a job had just begun, and we not yet listened.
        """
        if is_expected and self._session.book.begun_at(address):
            self._leaves(address, "it was asked to leave")
        loss, why = self._loss(address, is_expected)
        reason = f"the Dask worker {address} {why}"
        self._session.lose(self._session.book.begun_at(address), loss, reason)
        if (node := self._view.went(address)) is not None:
            self._sink(NodeLost(node, reason))
        self._stop_listening(address)
        self._leaving.pop(address, None)
        self._out_of_memory.discard(address)

    def _loss(self, address: str, is_expected: bool) -> tuple[Loss, str]:
        if address in self._out_of_memory:
            return Loss.MEMORY, "was ended by its nanny: out of memory"
        if is_expected or address in self._leaving:
            return Loss.RECLAIMED, "was asked to leave, and has left"
        return Loss.NODE, "is gone: killed, or its connection broke"

    # Now and then

    async def watch(self) -> None:
        """Look at the connection, and at the workers while there are jobs, until it fails."""
        while not self._session.has_failed:
            await asyncio.sleep(_STATUS_SECONDS)
            if self._client.status != "running":
                self._session.fail("the connection to the Dask scheduler is lost")
            elif self._session.book and self._is_time():
                await self._look()

    def _is_time(self) -> bool:
        return time.monotonic() - self._view.looked_at >= _LOOK_SECONDS

    async def _look(self) -> None:
        try:
            await asyncio.wait_for(self._view.look(), _ANSWER_SECONDS)
            await self._give_up_silent()
        except (TimeoutError, OSError) as error:
            self._session.fail(f"the Dask scheduler does not answer: {error or 'in time'}")
            return
        for process in self._view.processes():
            if process.status.startswith("closing"):
                self._leaves(process.address, f"it is {process.status.replace('_', ' ')}")
        self._give_up_forlorn()
        self._give_up_unplaced()

    async def _give_up_silent(self) -> None:
        """Give up what is on silent workers; what only waited there may be submitted again."""
        for address in self._view.silent - self._given_up:
            reason = f"the Dask worker {address} has not been heard of for a while"
            self._session.lose(self._session.book.begun_at(address), Loss.NODE, reason)
            if self._view.is_silent(self._view.node_of(address)):
                self._sink(NodeLost(self._view.node_of(address), reason))
        self._given_up = set(self._view.silent)
        if self._given_up and (waiting := self._session.book.waiting()):
            there = await self._view.scheduler.processing(workers=list(self._given_up))
            keys = {key for held in there.values() for key in held}
            names = [e.job.name for e in waiting if key_of(e.job.name) in keys]
            self._session.lose(names, Loss.RECLAIMED, "it waited on a Dask worker that is silent")

    def _give_up_forlorn(self) -> None:
        """Give up what waits for workers that are gone: Dask would wait for them for ever."""
        there = {process.address for process in self._view.processes()}
        for entry in self._session.book.waiting():
            if entry.allowed and not entry.allowed & there:
                loss = Loss.RECLAIMED if entry.job.node is None else Loss.UNPLACED
                reason = "the Dask workers where it could run are gone"
                self._session.lose([entry.job.name], loss, reason)

    def _give_up_unplaced(self) -> None:
        """Give up what has waited for a worker that could run it."""
        now, processes = time.monotonic(), self._view.processes()
        for entry in self._session.book.waiting():
            why = refusal(entry.job.demands, processes) or "the Dask cluster has no worker"
            if processes and refusal(entry.job.demands, processes) is None:
                continue
            if now - entry.since >= self._start_timeout:
                reason = f"{why} (for {self._start_timeout:g} s)"
                self._session.lose([entry.job.name], Loss.UNPLACED, reason)
