"""What a Dask engine does while it is connected: in one event loop, so that nothing is locked."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from distributed import Client, Future
from distributed.client import FutureCancelledError
from distributed.scheduler import KilledWorker

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.dask.jobs import JobBook
from ramp_engine.remote.dask.places import list_nodes, refusal, resources_for, slots_of
from ramp_engine.remote.dask.task import ask, key_of, pack, run_job
from ramp_engine.remote.dask.watch import ClusterView
from ramp_engine.remote.engine import Demands, EngineFailed, Job, Loss, Node, Sink
from ramp_engine.remote.frames import Frame

__all__ = ["DaskSession"]

_LOGGER = logging.getLogger(__name__)
#: Jobs that come within so many seconds go to the scheduler together.
_GATHER_SECONDS = 0.002
#: How often is asked whether a withdrawn key is gone [s].
_GONE_SECONDS = 0.02
_CALL_SECONDS = 60.0


class DaskSession:
    """One connection to a cluster, and the jobs on it.

    Parameters
    ----------
    client : Client
        Asynchronous, connected.
    view : ClusterView
        What is known of the cluster.
    sink : callable
        Takes the events.
    entry : str
        Module that runs folds on the nodes.
    heed : callable
        Told of each worker where a job begins.
    """

    def __init__(
        self, client: Client, view: ClusterView, sink: Sink, entry: str,
        heed: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._client = client
        self._heed = heed
        self._view = view
        self._sink = sink
        self._entry = entry
        self._new: list[Job] = []
        self._futures: dict[str, Future[Any]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turns = itertools.count()
        self.book = JobBook(sink)
        self.has_failed = False

    # Jobs

    def submit(self, job: Job) -> None:
        """Take a job, and send it with others that come at once."""
        self.book.add(job, time.monotonic())
        if self.has_failed:
            self.book.lose(job.name, Loss.CLUSTER, "the connection to the Dask scheduler is lost")
            return
        self._new.append(job)
        if len(self._new) == 1:
            asyncio.get_running_loop().call_later(
                _GATHER_SECONDS, lambda: self.spawn(self._send_new())
            )

    async def _send_new(self) -> None:
        processes = await self._view.fresh()
        jobs, self._new = [job for job in self._new if self.book.is_wanted(job.name)], []
        alike: dict[Any, list[Job]] = {}
        for job in jobs:
            if (reason := refusal(job.demands, processes)) is not None:
                self.book.lose(job.name, Loss.UNPLACED, reason)
                continue
            resources = resources_for(job.demands, processes)
            alike.setdefault((job.node, job.avoid, tuple(resources.items())), []).append(job)
        for (_, _, resources_items), group in alike.items():
            self._send(group, dict(resources_items))

    def _send(self, jobs: list[Job], resources: dict[str, float]) -> None:
        """Give jobs of the same demands, and for the same nodes, to the scheduler."""
        node, avoid = jobs[0].node, jobs[0].avoid
        allowed = self._view.allowed(node, avoid)
        if (node is not None or avoid) and not allowed:
            loss = Loss.RECLAIMED if node is None else Loss.UNPLACED
            reason = f"there is no Dask worker on {node or 'other nodes'}"
            for job in jobs:
                self.book.lose(job.name, loss, reason)
            return
        futures = self._client.map(
            run_job,
            [pack(job.name, job.request) for job in jobs],
            key=[key_of(job.name) for job in jobs],
            topic=self._client.id,
            slots=slots_of(self._view.processes(), resources),
            entry=self._entry,
            pure=False,
            retries=0,
            resources=resources or None,
            workers=allowed or None,
            allow_other_workers=False,
        )
        for job, future in zip(jobs, futures, strict=True):
            if (entry := self.book.entry(job.name)) is not None:
                entry.allowed = frozenset(allowed)
            self._futures[job.name] = future
            self.spawn(self._follow(job.name, future))

    async def _follow(self, name: str, future: Future[Any]) -> None:
        """Wait for a job's end; whatever ended it elsewhere has taken it out of the book."""
        error = await future.exception()
        if self._futures.get(name) is not future:
            return
        if future.status == "finished":
            await self._fetch(name, future)
        elif self._client.status != "running":
            self.fail("the connection to the Dask scheduler is lost")
        elif future.cancelled():
            self.book.lose(name, Loss.NODE, f"Dask has cancelled it: {error}")
        elif isinstance(error, KilledWorker | WorkerLostError):
            self.book.lose(name, Loss.NODE, str(error))
        else:
            self.book.lose(name, Loss.BROKEN, f"{type(error).__name__}: {error}")
        self._forget(name)

    async def _fetch(self, name: str, future: Future[Any]) -> None:
        """Fetch a job's answer, unless it is withdrawn, or lost with its worker, meanwhile."""
        try:
            node, header, payload = await future
        except (FutureCancelledError, OSError) as error:
            if self._futures.get(name) is future:
                self.book.lose(name, Loss.NODE, f"its answer is lost: {error}")
        else:
            self.book.end(name, node, Frame(header, payload))

    def _forget(self, name: str) -> None:
        """Have Dask forget a key: queued it does not begin, done its result goes."""
        future = self._futures.pop(name, None)
        if future is not None:
            future.release()

    def lose(self, names: Iterable[str], loss: Loss, reason: str) -> None:
        """Give jobs up, and have none of them run again."""
        for name in names:
            self.book.lose(name, loss, reason)
            self._forget(name)

    # Withdrawing

    def withdraw(self, names: Iterable[str]) -> None:
        """Take back what has not begun."""
        taken = self.book.withdraw(names)
        if taken and not self.has_failed:
            self.spawn(self._take_back(taken))

    async def _take_back(self, names: list[str]) -> None:
        """Have keys forgotten, then have ourselves told so, in order with what has begun."""
        try:
            await self._known(names)
            for name in names:
                self._forget(name)
            while any((await self._states(names)).values()):
                await asyncio.sleep(_GONE_SECONDS)
            await self._client.log_event(self._client.id, {"withdrawn": names})
        except OSError as error:
            self.fail(f"the Dask scheduler does not answer: {error}")

    async def _known(self, names: list[str]) -> None:
        """Wait until the scheduler has read what it was sent: before, it cannot forget."""
        while unknown := [name for name, state in (await self._states(names)).items() if not state]:
            if not any(name in self._futures or self._is_new(name) for name in unknown):
                return
            await asyncio.sleep(_GONE_SECONDS)

    def _is_new(self, name: str) -> bool:
        return any(job.name == name for job in self._new)

    async def _states(self, names: list[str]) -> dict[str, str | None]:
        """Ask what becomes of jobs; None: the scheduler does not know them."""
        keys = {key_of(name): name for name in names}
        states = await self._view.scheduler.get_task_status(keys=list(keys))
        return {keys[key]: state for key, state in states.items()}

    async def _end_after_all(self, name: str) -> None:
        """End a job that began just as it was withdrawn."""
        entry = self.book.entry(name)
        if entry is not None:
            await self._end_stray(name, entry.node or "", entry.job.request.header)
            self.book.lose(name, Loss.RECLAIMED, "it was withdrawn as it began, and ended")

    async def _end_stray(self, name: str, node: str, whose: Mapping[str, Any]) -> None:
        """Have a job ended that nobody waits for."""
        header = {key: whose.get(key) for key in ("lease", "lease_seconds", "site")}
        try:
            await self.call(node, Frame({**header, "op": "cancel", "jobs": [name]}))
        except WorkerLostError as error:
            _LOGGER.warning("A job could not be ended", extra={"job": name, "why": str(error)})

    # What the cluster says

    def hear(self, said: Any) -> None:
        """Take an event of our own topic."""
        if not isinstance(said, Mapping):
            return
        if "withdrawn" in said:
            for name in self.book.withdrawn(said["withdrawn"]):
                self.spawn(self._end_after_all(name))
        elif "begun" in said:
            if self.book.begin(said["job"], said["node"], said["begun"]):
                self._heed(said["begun"])
            else:
                self.spawn(self._end_stray(said["job"], said["node"], said["whose"]))
        elif "job" in said:
            self.book.say(said["job"], said["node"], bytes(said["bytes"]), said.get("header"))

    def fail(self, reason: str) -> None:
        """Give everything up; nothing more is heard."""
        if self.has_failed:
            return
        self.has_failed = True
        self.book.lose_all(Loss.CLUSTER, reason)
        self._futures.clear()
        self._sink(EngineFailed(reason))

    # Questions

    async def nodes(self, demands: Demands) -> list[Node]:
        """List the nodes, with what they have in hand now; none when the connection is lost."""
        if self.has_failed:
            return []
        processes = await self._view.look()
        processing = await self._view.scheduler.processing(workers=None)
        return list_nodes(processes, demands, processing, self._view.facts)

    async def call(self, node: str, request: Frame) -> Frame:
        """Ask the agent of a node, through one of its worker processes.

        Raises
        ------
        WorkerLostError
            There is no answer.
        """
        if self.has_failed:
            raise WorkerLostError("the connection to the Dask scheduler is lost")
        addresses = self._view.allowed(node) or await self._view.find(node)
        if not addresses:
            raise WorkerLostError(f"there is no Dask worker on {node}, or it does not answer")
        address = addresses[next(self._turns) % len(addresses)]
        seconds = _CALL_SECONDS + float(request.header.get("seconds") or 0)
        question = self._client.run(
            ask, node, request.header, request.payload, seconds, self._entry, workers=[address]
        )
        answers = await _answered(question, node, seconds)
        header, payload = answers[address]
        return Frame(header, payload)

    # Life

    def spawn(self, coroutine: Any) -> None:
        """Run something beside, until the session ends."""
        task: asyncio.Task[None] = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOGGER.error("A step of the Dask engine failed", exc_info=error)
            self.fail(f"the Dask engine failed: {type(error).__name__}: {error}")

    async def close(self) -> None:
        """Let go of all jobs; the scheduler forgets them."""
        self.book.lose_all(Loss.RECLAIMED, "the engine was left")
        for name in list(self._futures):
            self._forget(name)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _answered(question: Any, node: str, seconds: float) -> Any:
    try:
        return await asyncio.wait_for(question, seconds + 15)
    except WorkerLostError:
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise WorkerLostError(f"the node {node} does not answer: {reason}") from error
