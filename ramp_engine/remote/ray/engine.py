"""Ray as an engine: a task for each job, and actors that carry messages.

Everything that Ray runs for us belongs to this process and ends with it, whichever way that ends::

    this process ── RayEngine ──┬── task of a job, on any node ──┐
                                │                                ▼ says
                                ├── PostOffice, an actor beside the head
                                └── Caller, an actor on each node that is asked something
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ramp_engine.errors import WorkerLostError, WorkerSetupError
from ramp_engine.remote.engine import Demands, Job, Node, Sink
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.ray.connection import Endpoint, connect, demand_token, find_endpoint
from ramp_engine.remote.ray.jobs import Jobs
from ramp_engine.remote.ray.local import LocalRay
from ramp_engine.remote.ray.places import as_node, ray_demands

if TYPE_CHECKING:
    from ramp_engine.remote.ray.session import RaySession

__all__ = ["RayEngine", "open_engine"]

#: Module on the nodes that talks to the agent there.
ENTRY = "ramp_engine.remote.node.entry"


def open_engine(config: Mapping[str, Any], sink: Sink) -> RayEngine:
    """Make an engine on the Ray cluster that a ``worker`` section names; see `engine.MakeEngine`.

    Parameters
    ----------
    config : mapping
        The keys ``ray_address``, ``namespace``, ``runtime_env``, ``token_file`` and
        ``start_timeout``, all optional, and ``event``.
    sink : callable
        Told what becomes of jobs and nodes.
    """
    return RayEngine(config, sink)


class RayEngine:
    """A client of a Ray cluster, or of a Ray of its own; see `engine.Engine`.

    A process has one, once: what Ray knows of token and cluster stays with the process.

    Parameters
    ----------
    config, sink
        See `open_engine`.
    entry : str
        Module on the nodes that has ``run_fold`` and ``ask``.
    """

    def __init__(self, config: Mapping[str, Any], sink: Sink, entry: str = ENTRY) -> None:
        self._config = config
        self._entry = entry
        self._jobs = Jobs(sink)
        self._local: LocalRay | None = None
        self._session: RaySession | None = None
        self._is_leaving = False

    def __enter__(self) -> Self:
        """Connect, see `engine.Engine`."""
        try:
            self._session = self._connected()
        except ImportError as error:
            raise WorkerSetupError(
                f"Ray is not installed here: {error}", "pip install 'ramp-engine[ray]'"
            ) from error
        except BaseException:
            self._end_local()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave, see `engine.Engine`; what still runs is ended by Ray with this client."""
        self._is_leaving = True
        try:
            if self._session is not None:
                self._session.close()
        finally:
            self._end_local()

    def nodes(self, demands: Demands) -> list[Node]:
        """List the nodes, see `engine.Engine`; none when they cannot be asked any more."""
        wanted = ray_demands(demands)
        return [as_node(view, wanted) for view in self._entered().look() or ()]

    def submit(self, job: Job) -> None:
        """Have a job run, see `engine.Engine`."""
        if self._jobs.add(job):
            self._entered().submit(job)

    def withdraw(self, name: str) -> None:
        """Take a job back that has not begun, see `engine.Engine`."""
        self._entered().withdraw(name)

    def call(self, node: str, request: Frame) -> Future[Frame]:
        """Have the agent of a node answer a question, see `engine.Engine`."""
        if self._jobs.has_failed:
            lost: Future[Frame] = Future()
            lost.set_exception(WorkerLostError("the Ray cluster is gone"))
            return lost
        return self._entered().ask(node, request)

    def _connected(self) -> RaySession:
        endpoint = self._endpoint()
        config = self._config
        namespace = config.get("namespace") or f"ramp-{config.get('event', 'event')}"
        connect(endpoint, namespace, config.get("runtime_env"))
        from ramp_engine.remote.ray.session import RaySession

        session = RaySession(self._jobs, endpoint, self._entry)
        try:
            session.start(float(config.get("start_timeout") or 600))
        except BaseException:
            session.close()
            raise
        return session

    def _endpoint(self) -> Endpoint:
        """Find the cluster, or start one."""
        address = self._config.get("ray_address")
        if address:
            if token_file := self._config.get("token_file"):
                demand_token(Path(token_file))
            return find_endpoint(str(address))
        self._local = LocalRay(on_end=self._note_end)
        demand_token(self._local.token_path)
        return find_endpoint(self._local.address)

    def _note_end(self) -> None:
        if not self._is_leaving:
            self._jobs.fail("the local Ray has died")

    def _end_local(self) -> None:
        if self._local is not None:
            self._is_leaving = True
            self._local.end()

    def _entered(self) -> RaySession:
        if self._session is None:
            raise RuntimeError("the engine was not entered")
        return self._session
