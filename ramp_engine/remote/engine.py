"""What the gateway asks of a distributed engine, whichever it is.

An engine places jobs on nodes and says what becomes of them. It retries nothing: a job that is lost
is reported once, and never runs again under the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Any, Protocol, Self

from ramp_engine.remote.frames import Frame

__all__ = ["Demands", "Engine", "EngineEvent", "EngineFailed", "Job", "JobEnded", "JobLost"]
__all__ += ["JobSaid", "Loss", "MakeEngine", "Node", "NodeLeaving", "NodeLost", "Sink"]


@dataclass(frozen=True)
class Demands:
    """What a job needs for itself of a node."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: float | None = None  #: MB of 2**20 bytes; None: not asked for
    resources: Mapping[str, float] = field(default_factory=dict)  #: the operator's own, by name
    labels: Mapping[str, str] = field(default_factory=dict)  #: those that the node has to have


@dataclass(frozen=True)
class Job:
    """One run of a fold, as the engine knows it."""

    name: str  #: unique for ever
    request: Frame  #: for the node's agent, see `ramp_engine.remote.node`
    demands: Demands
    node: str | None = None  #: name of the node where it has to run; None: the engine chooses
    avoid: frozenset[str] = frozenset()  #: nodes where it must not run, while the engine chooses


@dataclass(frozen=True)
class Node:
    """One machine of the cluster, or one part of it that fails as a whole."""

    name: str  #: unique among those that are there
    host: str  #: for people
    n_slots: int  #: jobs of this event that fit on it when it is empty
    n_free: int  #: of them, so many are free
    facts: Mapping[str, Any] = field(default_factory=dict)  #: cpus, gpus, memory_mb, labels, ...
    is_leaving: bool = False  #: whether it was asked to leave


class Loss(StrEnum):
    """Why a job ended without an answer of its own."""

    RECLAIMED = "reclaimed"  #: the node was asked to leave, and has left; nobody's fault
    NODE = "node"  #: the node, or the engine's process on it, died
    MEMORY = "memory"  #: the engine ended it because the node ran out of memory
    CLUSTER = "cluster"  #: scheduler or head are gone
    UNPLACED = "unplaced"  #: no node can ever meet its demands, or none did within start_timeout
    BROKEN = "broken"  #: it raised on the node: versions that differ, a missing package, a bug


@dataclass(frozen=True)
class JobSaid:
    """A job has something to say while it runs."""

    job: str
    node: str
    frame: Frame


@dataclass(frozen=True)
class JobEnded:
    """A job has given its answer."""

    job: str
    node: str
    frame: Frame


@dataclass(frozen=True)
class JobLost:
    """A job has ended without an answer, or was never begun."""

    job: str
    loss: Loss
    reason: str  #: in words, with the engine's own


@dataclass(frozen=True)
class NodeLeaving:
    """A node was asked to leave: what runs there should be saved."""

    node: str
    reason: str


@dataclass(frozen=True)
class NodeLost:
    """A node is gone; its jobs are reported one by one."""

    node: str
    reason: str


@dataclass(frozen=True)
class EngineFailed:
    """The connection to the cluster is lost for good: nothing more will be heard of any job."""

    reason: str


EngineEvent = JobSaid | JobEnded | JobLost | NodeLeaving | NodeLost | EngineFailed
#: Takes events from whatever thread, and returns at once.
Sink = Callable[[EngineEvent], None]


class Engine(Protocol):
    """A client of a cluster; entered before use, left at the end, when nothing of it remains.

    All methods may be called from any thread.
    """

    def __enter__(self) -> Self:
        """Connect.

        Raises
        ------
        WorkerSetupError
            The cluster cannot be reached, refuses us, or does not fit: what to do about it.
        """

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave: jobs of ours that have not begun are withdrawn, a cluster of our own is ended."""

    def nodes(self, demands: Demands) -> list[Node]:
        """List the nodes that are there now, with their slots for jobs of such demands."""

    def submit(self, job: Job) -> None:
        """Have a job run. Exactly one `JobEnded` or `JobLost` follows, also after `withdraw`."""

    def withdraw(self, name: str) -> None:
        """Take a job back that has not begun; one that has begun goes on."""

    def call(self, node: str, request: Frame) -> Future[Frame]:
        """Have the agent of a node answer a question, beside all jobs.

        The future raises `WorkerLostError` when the node is gone or does not answer in time.
        """


#: Makes an engine out of the ``worker`` section, for jobs of an event; it is entered by the caller.
MakeEngine = Callable[[Mapping[str, Any], Sink], Engine]
