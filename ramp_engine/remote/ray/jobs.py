"""The jobs that a Ray cluster has of us, and what is told of each: one end, after all it said."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ramp_engine.remote.engine import (
    EngineEvent,
    EngineFailed,
    Job,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
    Sink,
)
from ramp_engine.remote.frames import Frame

__all__ = ["Jobs", "KnownJob"]


@dataclass
class KnownJob:
    """A job that has not ended."""

    job: Job
    submitted_at: float  #: by the monotonic clock [s]
    task: Any = None  #: Ray's reference to its result; None: not yet with Ray
    node: str | None = None  #: where it has begun
    n_heard: int = 0  #: messages that have been told
    early: dict[int, Frame | None] = field(default_factory=dict)  #: others, by their numbers
    answer: Mapping[str, Any] | None = None  #: what `tasks.run_job` gave; more is to be heard
    answered_at: float = 0.0
    is_withdrawn: bool = False


class Jobs:
    """All jobs that have not ended; of any thread.

    Parameters
    ----------
    sink : callable
        Told what becomes of them, one event at a time.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._known: dict[str, KnownJob] = {}
        self._lock = threading.RLock()
        self._has_failed = False

    @property
    def has_failed(self) -> bool:
        """Whether nothing more is heard of the cluster."""
        return self._has_failed

    def add(self, job: Job) -> bool:
        """Take a job in; False: it was in already, or all has failed."""
        with self._lock:
            if self._has_failed or job.name in self._known:
                return False
            self._known[job.name] = KnownJob(job, time.monotonic())
            return True

    def set_task(self, name: str, task: Any) -> bool:
        """Note Ray's reference; tell whether the job was withdrawn before there was one."""
        with self._lock:
            known = self._known.get(name)
            if known is None:
                return True
            known.task = task
            return known.is_withdrawn

    def withdraw(self, name: str) -> Any:
        """Note that a job is not wanted; give the task that is to be taken back, or None."""
        with self._lock:
            known = self._known.get(name)
            if known is None or known.node is not None:
                return None
            known.is_withdrawn = True
            return known.task

    def get(self, name: str) -> KnownJob | None:
        """Give a job; None when it has ended."""
        return self._known.get(name)

    def waiting(self, seconds: float) -> list[KnownJob]:
        """List those that have waited longer than that and have not begun."""
        before = time.monotonic() - seconds
        with self._lock:
            known = list(self._known.values())
        return [entry for entry in known if entry.node is None and entry.submitted_at < before]

    def on(self, node: str) -> list[str]:
        """Name those that run on a node, and have given no answer."""
        with self._lock:
            known = list(self._known.items())
        return [name for name, entry in known if entry.node == node and entry.answer is None]

    def nodes(self) -> set[str]:
        """Give the nodes on which jobs run."""
        with self._lock:
            return {entry.node for entry in self._known.values() if entry.node is not None}

    def tasks(self) -> list[Any]:
        """Give the tasks of those that have not begun."""
        with self._lock:
            known = list(self._known.values())
        return [entry.task for entry in known if entry.node is None and entry.task is not None]

    def heard(self, name: str, node: str, number: int, frame: Frame | None) -> None:
        """Take what a job says, which is told in its turn; None: that it has begun."""
        with self._lock:
            known = self._known.get(name)
            if known is None:
                return
            known.node = node
            known.early[number] = frame
            while known.n_heard in known.early:
                said = known.early.pop(known.n_heard)
                known.n_heard += 1
                if said is not None:
                    self.tell(JobSaid(name, node, said))
            self._end_if_heard(name, known)

    def answered(self, name: str, answer: Mapping[str, Any]) -> None:
        """Take the result of a task; it is told when all that the job said has come."""
        with self._lock:
            known = self._known.get(name)
            if known is not None:
                known.node, known.answer = answer["node"], answer
                known.answered_at = time.monotonic()
                self._end_if_heard(name, known)

    def end_overdue(self, seconds: float) -> None:
        """Tell the ends of jobs whose last words are missing for so long: their process died."""
        before = time.monotonic() - seconds
        with self._lock:
            for name, known in list(self._known.items()):
                if known.answer is not None and known.answered_at < before:
                    self._end(name, known.answer)

    def lost(self, name: str, loss: Loss, reason: str) -> None:
        """Tell that a job is lost, unless it has ended."""
        with self._lock:
            if self._known.pop(name, None) is not None:
                self.tell(JobLost(name, loss, reason))

    def fail(self, reason: str) -> None:
        """Tell, once, that nothing more will be heard of any job."""
        with self._lock:
            if not self._has_failed:
                self.tell(EngineFailed(reason))
            self._has_failed = True
            self._known.clear()

    def tell(self, event: EngineEvent) -> None:
        """Tell something, in its turn; nothing once all has failed."""
        with self._lock:
            if not self._has_failed:
                self._sink(event)

    def _end_if_heard(self, name: str, known: KnownJob) -> None:
        if known.answer is not None and known.n_heard >= known.answer["n_said"]:
            self._end(name, known.answer)

    def _end(self, name: str, answer: Mapping[str, Any]) -> None:
        if "broken" in answer:
            self.lost(name, Loss.BROKEN, answer["broken"])
        elif "lost" in answer:
            self.lost(name, Loss.NODE, answer["lost"])
        elif self._known.pop(name, None) is not None:
            frame = Frame(answer["header"], answer["payload"])
            self.tell(JobEnded(name, answer["node"], frame))
