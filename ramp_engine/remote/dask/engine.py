"""Jobs on a Dask cluster: one client for all of them, in a thread of its own.

The engine retries nothing, whatever the scheduler is set to: see `task` for how a job begins
at most once, `jobs` for how it ends, and `guard` for how losses are told apart. When the
connection to the scheduler is lost, all is given up at once: a scheduler that comes back knows
nothing of our jobs.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import distributed
from distributed import Client

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.dask.cluster import open_client
from ramp_engine.remote.dask.guard import ClusterGuard
from ramp_engine.remote.dask.session import DaskSession
from ramp_engine.remote.dask.task import ENTRY
from ramp_engine.remote.dask.watch import ClusterView
from ramp_engine.remote.engine import Demands, Job, JobLost, Loss, Node, Sink
from ramp_engine.remote.frames import Frame

__all__ = ["DaskEngine", "open_engine"]

#: A worker that is not heard of for so long is given up [s].
_NODE_TIMEOUT = 30.0
#: A job that no worker could run for so long is given up, where nothing else is configured [s].
_START_TIMEOUT = 600.0


def open_engine(config: Mapping[str, Any], sink: Sink) -> DaskEngine:
    """Make the engine of a ``worker`` section; entering it connects.

    Parameters
    ----------
    config : mapping
        ``dask_scheduler``, ``dask_security``, ``cpus``, ``gpus``, ``start_timeout``, ``event``.
    sink : callable
        Takes the events, from the engine's thread.
    """
    return DaskEngine(config, sink)


class DaskEngine:
    """An `ramp_engine.remote.engine.Engine` on Dask.

    Parameters
    ----------
    config : mapping
        See `open_engine`.
    sink : callable
        Takes the events.
    entry : str
        Module that runs folds on the nodes.
    node_timeout : float
        After so many seconds without a heartbeat a worker is given up.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        sink: Sink,
        entry: str = ENTRY,
        node_timeout: float = _NODE_TIMEOUT,
    ) -> None:
        self._config = config
        self._sink = sink
        self._entry = entry
        self._node_timeout = node_timeout
        self._thread = threading.Thread(target=self._run, name="dask engine", daemon=True)
        self._ready: Future[DaskSession] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._is_left = asyncio.Event()

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.result()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._post(self._is_left.set)
        self._thread.join()

    # What the gateway asks; each hops into the loop's thread

    def nodes(self, demands: Demands) -> list[Node]:
        """List the nodes that are there now; none when the connection is lost."""
        try:
            found: list[Node] = self._ask(lambda session: session.nodes(demands)).result()
        except (OSError, WorkerLostError):
            return []
        return found

    def submit(self, job: Job) -> None:
        """Have a job run."""
        if not self._post(lambda: self._session.submit(job)):
            self._sink(JobLost(job.name, Loss.CLUSTER, "the Dask engine was left"))

    def withdraw(self, name: str) -> None:
        """Take a job back that has not begun."""
        self._post(lambda: self._session.withdraw([name]))

    def call(self, node: str, request: Frame) -> Future[Frame]:
        """Have the agent of a node answer a question."""
        return self._ask(lambda session: session.call(node, request))

    @property
    def _session(self) -> DaskSession:
        return self._ready.result()

    def _post(self, step: Callable[[], Any]) -> bool:
        """Have something done in the loop's thread; False: the loop has ended."""
        try:
            self._loop.call_soon_threadsafe(step)
        except RuntimeError:
            return False
        return True

    def _ask(self, question: Callable[[DaskSession], Coroutine[Any, Any, Any]]) -> Future[Any]:
        """Ask something in the loop's thread."""
        answer: Future[Any] = Future()
        if not self._post(lambda: self._session.spawn(_answer(question(self._session), answer))):
            answer.set_exception(WorkerLostError("the Dask engine was left"))
        return answer

    # The loop's thread

    def _run(self) -> None:
        try:
            asyncio.run(self._live())
        except BaseException as error:
            if self._ready.done():
                raise
            self._ready.set_exception(error)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        async with open_client(self._config) as client:
            await self._serve(client)

    async def _serve(self, client: Client) -> None:
        """Work until the engine is left."""
        view = ClusterView(client, self._node_timeout, {"distributed": distributed.__version__})
        start_timeout = float(self._config.get("start_timeout") or _START_TIMEOUT)
        guard = ClusterGuard(client, view, self._sink, start_timeout)
        session = DaskSession(client, view, self._sink, self._entry, guard.heed)
        guard.listen(session)
        await view.look()
        session.spawn(guard.watch())
        self._ready.set_result(session)
        await self._is_left.wait()
        guard.deafen()
        await session.close()


async def _answer(question: Coroutine[Any, Any, Any], answer: Future[Any]) -> None:
    """Hand over what a question brings, also when the engine is left meanwhile."""
    try:
        found = await question
    except (WorkerLostError, OSError) as error:
        answer.set_exception(error)
    except asyncio.CancelledError:
        answer.set_exception(WorkerLostError("the Dask engine was left"))
        raise
    else:
        answer.set_result(found)
