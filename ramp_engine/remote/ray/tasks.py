"""What runs in Ray's own processes: the task of a job, the caller of an agent, the post office.

Ray carries these definitions to the nodes as they are here, so that they work, and say what is
missing, also where ramp is not installed. Only what is imported inside of them has to be there.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import platform
import sys
import threading
from collections.abc import Mapping
from typing import Any

import ray
from ray.exceptions import RayError

__all__ = ["Caller", "PostOffice", "run_job"]

#: How often the post office looks for nodes that are to leave, in seconds.
LOOK_SECONDS, LOOK_SECONDS_AT_MOST = 1.0, 10.0
#: Of the time at most this part is spent on looking, however many nodes there are.
LOOK_SHARE = 0.02

_KNOWN: dict[str, tuple[Any, dict[str, Any]]] = {}


def run_job(
    post_name: str,
    job: str,
    entry: str,
    header: dict[str, Any],
    payload: bytes,
    demands: dict[str, Any],
) -> dict[str, Any]:
    """Run a fold by the agent of this node: the task of a job.

    Parameters
    ----------
    post_name : str
        Name of the `PostOffice`, which takes what the job says meanwhile, first of all that it has
        begun. (A handle would cost each job as much as all the rest.)
    job : str
    entry : str
        Module that has ``run_fold``.
    header, payload
        The request.
    demands : dict
        Resources that a job takes, by Ray's names for them, and ``labels``.

    Returns
    -------
    dict
        ``node``; ``n_said``: how much the job has posted; and ``header`` and ``payload`` of the
        answer, or ``lost`` or ``broken``, which say why there is none.
    """
    post, here = _known(post_name)
    node = here["NodeID"]
    n_said = 0
    saying = threading.Lock()

    def post_it(header: dict[str, Any] | None, payload: bytes) -> None:
        nonlocal n_said
        with saying:
            post.put.remote(job, node, n_said, header, payload)
            n_said += 1

    def ended(**answer: Any) -> dict[str, Any]:
        with saying:
            return {"node": node, "n_said": n_said, **answer}

    post_it(None, b"")
    _be_as_nice_as_others()
    try:
        home = importlib.import_module(entry)
        errors = importlib.import_module("ramp_engine.errors")
        frames = importlib.import_module("ramp_engine.remote.frames")
        places = importlib.import_module("ramp_engine.remote.ray.places")
    except ImportError as error:
        return ended(broken=_what_is_missing(error))
    n_slots = places.count_slots(here["Resources"], here["Labels"], demands)
    gpus = [str(gpu) for gpu in ray.get_gpu_ids()] if demands.get("GPU") else None
    try:
        answer = home.run_fold(
            node,
            frames.Frame(header, payload),
            max(1, n_slots),
            lambda frame: post_it(frame.header, frame.payload),
            gpus=gpus,
        )
    except errors.WorkerLostError as error:
        return ended(lost=str(error))
    return ended(header=answer.header, payload=answer.payload)


class Caller:
    """An actor on a node that asks its agent; several questions at once.

    Parameters
    ----------
    entry : str
        Module that has ``ask``.
    """

    def __init__(self, entry: str) -> None:
        _be_as_nice_as_others()
        self._entry = entry

    def ask(self, header: dict[str, Any], payload: bytes, seconds: float) -> dict[str, Any]:
        """Ask the agent; give ``header`` and ``payload`` of its answer, or why there is none."""
        try:
            home = importlib.import_module(self._entry)
            errors = importlib.import_module("ramp_engine.errors")
            frames = importlib.import_module("ramp_engine.remote.frames")
        except ImportError as error:
            return {"lost": _what_is_missing(error)}
        node = ray.get_runtime_context().get_node_id()
        try:
            answer = home.ask(node, frames.Frame(header, payload), seconds)
        except errors.WorkerLostError as error:
            return {"lost": str(error)}
        return {"header": answer.header, "payload": answer.payload}


class PostOffice:
    """An actor beside the head: takes what jobs say, and looks after the nodes.

    The gateway fetches all that has come at once, and waits here when there is nothing.
    """

    def __init__(self) -> None:
        self._items: list[tuple[Any, ...]] = []
        self._has_come = asyncio.Event()
        self._alive: set[str] = set()
        self._asked_to_leave: set[str] = set()  # also those that have left
        self._looking: asyncio.Task[None] | None = None

    async def about(self) -> dict[str, str | None]:
        """Tell the versions here; that of ramp is None where it is not installed."""
        try:
            ramp = importlib.import_module("ramp_engine").__version__
        except ImportError:
            ramp = None
        return {"ramp": ramp, "python": platform.python_version(), "executable": sys.executable}

    async def put(
        self, job: str, node: str, number: int, header: dict[str, Any] | None, payload: bytes
    ) -> None:
        """Take what a job says, in any order; no header: that it has begun."""
        self._add("said", job, node, number, header, payload)

    async def take(self, seconds: float) -> list[tuple[Any, ...]]:
        """Give all that has come since the last time; wait so long for something."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_after_nodes())
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._has_come.wait(), seconds)
        self._has_come.clear()
        items, self._items = self._items, []
        return items

    async def look(self) -> list[dict[str, Any]]:
        """Describe the living nodes."""
        return _describe_nodes()

    async def fate(self, node: str, seconds: float) -> str | None:
        """Say why a node that was asked to leave has left; None: it was not asked.

        A node that still seems to live is given so long to be known as dead.
        """
        clock = asyncio.get_running_loop().time
        until = clock() + seconds
        while _is_alive(node) and clock() < until:
            await asyncio.sleep(0.2)
        return _reason_to_leave(node, was_leaving=node in self._asked_to_leave)

    def _add(self, *item: Any) -> None:
        self._items.append(item)
        self._has_come.set()

    async def _look_after_nodes(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            begun_at = clock()
            with contextlib.suppress(RayError, OSError, RuntimeError, ValueError):
                self._compare(_nodes_alive())  # a head that is away comes back, or ends us
            seconds = (clock() - begun_at) / LOOK_SHARE
            await asyncio.sleep(min(max(LOOK_SECONDS, seconds), LOOK_SECONDS_AT_MOST))

    def _compare(self, nodes: Mapping[str, int | None]) -> None:
        """Tell of nodes that are to leave, or have gone, since the last look."""
        for node, deadline in nodes.items():
            if deadline is not None and node not in self._asked_to_leave:
                self._asked_to_leave.add(node)
                self._add("leaving", node, deadline)
        for node in self._alive - nodes.keys():
            self._add("gone", node)
        self._alive = set(nodes)


def _known(post_name: str) -> tuple[Any, dict[str, Any]]:
    """Give the post office, and this node as Ray describes it; asked once by each process."""
    if post_name not in _KNOWN:
        node = ray.get_runtime_context().get_node_id()
        here = next(entry for entry in ray.nodes() if entry["NodeID"] == node)
        _KNOWN[post_name] = ray.get_actor(post_name), here
    return _KNOWN[post_name]


def _be_as_nice_as_others() -> None:
    """Undo that Ray runs tasks at nice 15, where the user may."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _what_is_missing(error: ImportError) -> str:
    return (
        f"{error}, for Python {platform.python_version()} ({sys.executable}) on the node"
        f" {platform.node()}"
    )


def _nodes_alive() -> dict[str, int | None]:
    """List the living nodes, each with the time when it is to be gone [ms], 0: whenever.

    Ray shows which nodes are to leave in no public way.
    """
    from ray._private.state import state

    leaving = state.get_draining_nodes()
    return {
        entry["NodeID"]: leaving.get(entry["NodeID"]) for entry in ray.nodes() if entry["Alive"]
    }


def _describe_nodes() -> list[dict[str, Any]]:
    from ray._private.state import state

    leaving, free = state.get_draining_nodes(), state.available_resources_per_node()
    return [
        {
            "name": entry["NodeID"],
            "host": entry["NodeManagerHostname"],
            "address": entry["NodeManagerAddress"],
            "total": dict(entry["Resources"]),
            "free": dict(free.get(entry["NodeID"], {})),
            "labels": dict(entry["Labels"]),
            "is_leaving": entry["NodeID"] in leaving,
        }
        for entry in ray.nodes()
        if entry["Alive"]
    ]


def _is_alive(node: str) -> bool:
    return any(entry["Alive"] for entry in ray.nodes() if entry["NodeID"] == node)


def _reason_to_leave(node: str, *, was_leaving: bool) -> str | None:
    from ray.core.generated.common_pb2 import NodeDeathInfo

    entry = next((entry for entry in ray.nodes() if entry["NodeID"] == node), None)
    if entry is None or entry["Alive"]:
        return "it was asked to leave" if was_leaving else None
    reason = entry["DeathReason"]
    asked = (
        NodeDeathInfo.EXPECTED_TERMINATION,
        NodeDeathInfo.AUTOSCALER_DRAIN_PREEMPTED,
        NodeDeathInfo.AUTOSCALER_DRAIN_IDLE,
    )
    if reason not in asked and not was_leaving:
        return None
    name = NodeDeathInfo.Reason.Name(reason).lower().replace("_", " ")
    return f"{name}: {entry['DeathReasonMessage']}".rstrip(": ")
