"""Questions to the agents of nodes, asked by an actor on each, beside all jobs."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.ray import tasks as ray_tasks
from ramp_engine.remote.ray.losses import short

__all__ = ["Callers"]

#: An agent may think so long about an answer, and the answer may come so late, in seconds.
ANSWER_SECONDS, PATIENCE_SECONDS = 60.0, 90.0
#: A caller without questions and jobs on its node is ended after so many seconds: to an autoscaler
#: a node with an actor is not idle.
IDLE_SECONDS = 30.0
#: So many questions an actor asks at once.
_N_AT_ONCE = 16


@dataclass
class _Caller:
    actor: Any
    used_at: float
    n_asked: int = 0


class Callers:
    """The callers of all nodes, each made on first need; of any thread.

    Parameters
    ----------
    entry : str
        Module that has ``ask``, on the nodes.
    """

    def __init__(self, entry: str) -> None:
        self._entry = entry
        self._actor_class: Any = ray.remote(ray_tasks.Caller)
        self._callers: dict[str, _Caller] = {}
        self._due: dict[Future[Frame], tuple[str, float]] = {}
        self._lock = threading.Lock()

    def ask(self, node: str, request: Frame) -> Future[Frame]:
        """Have a node's agent answer; the future raises `WorkerLostError` when it does not."""
        answer: Future[Frame] = Future()
        granted = float(request.header.get("seconds") or 0.0)  # to folds that are asked to leave
        caller: _Caller | None = None
        try:
            with self._lock:
                self._due[answer] = (node, time.monotonic() + PATIENCE_SECONDS + granted)
                caller = self._caller(node)
                caller.n_asked += 1
            seconds = ANSWER_SECONDS + granted
            asked = caller.actor.ask.remote(request.header, request.payload, seconds)
            asked.future().add_done_callback(partial(self._take, node, caller, answer))
        except Exception as error:  # noqa: BLE001  grpc raises what it likes, over ray://
            if caller is not None:
                self._forget(node, caller)
            self._settle(answer, WorkerLostError(f"node {node}: {short(error)}"))
        return answer

    def look_after(self, busy: set[str]) -> None:
        """Give up on answers that are overdue, and end the callers of nodes that are idle."""
        now = time.monotonic()
        with self._lock:
            late = [(answer, node) for answer, (node, due) in self._due.items() if due < now]
            idle = [
                (node, caller)
                for node, caller in self._callers.items()
                if node not in busy and not caller.n_asked and caller.used_at + IDLE_SECONDS < now
            ]
        for answer, node in late:
            reason = f"node {node} has not answered in time"
            self._settle(answer, WorkerLostError(reason))
        for node, caller in idle:
            self._forget(node, caller)

    def give_up(self, reason: str) -> None:
        """Answer all that are waiting for an answer with an error."""
        with self._lock:
            waiting = list(self._due)
        for answer in waiting:
            self._settle(answer, WorkerLostError(reason))

    def _caller(self, node: str) -> _Caller:
        if (known := self._callers.get(node)) is None:
            actor = self._actor_class.options(
                num_cpus=0,
                max_restarts=0,
                max_task_retries=0,
                max_concurrency=_N_AT_ONCE,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
            ).remote(self._entry)
            known = self._callers[node] = _Caller(actor, time.monotonic())
        return known

    def _take(
        self, node: str, caller: _Caller, answer: Future[Frame], given: Future[dict[str, Any]]
    ) -> None:
        with self._lock:
            caller.n_asked -= 1
            caller.used_at = time.monotonic()
        if (error := given.exception()) is not None:
            self._forget(node, caller)
            self._settle(answer, WorkerLostError(f"node {node}: {short(error)}"))
            return
        found = given.result()
        if "lost" in found:
            self._settle(answer, WorkerLostError(f"node {node}: {found['lost']}"))
        else:
            self._settle(answer, Frame(found["header"], found["payload"]))

    def _settle(self, answer: Future[Frame], result: Frame | WorkerLostError) -> None:
        with self._lock:
            if self._due.pop(answer, None) is None:
                return
        if not answer.set_running_or_notify_cancel():
            return
        if isinstance(result, Frame):
            answer.set_result(result)
        else:
            answer.set_exception(result)

    def _forget(self, node: str, caller: _Caller) -> None:
        """Let go of a caller, which Ray ends when nobody has it; the next question has another.

        It is not killed: this may be a thread of Ray's own, which would wait for itself.
        """
        with self._lock:
            if self._callers.get(node) is caller:
                del self._callers[node]
