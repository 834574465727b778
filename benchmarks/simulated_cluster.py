"""A cluster of nodes that are not there, whose folds cost nothing: what is left is the engine.

The gateway loads it with ``--engine benchmarks.simulated_cluster:open_engine``. Each node has two
slots; a fold takes so long as the configuration says, and leaves files of the usual sizes.
"""

from __future__ import annotations

import heapq
import itertools
import threading
import time
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

import ramp_engine
from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.engine import Demands, Job, JobEnded, JobLost, JobSaid, Loss, Node, Sink
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.parts import join

SLOTS = 2
#: What a fold of iris leaves [bytes]: predictions, times and state.
OUTPUTS = {
    "log": b"trained\n" * 20,
    "private.log": b"",
    "output/y_pred_train.npz": bytes(3000),
    "output/y_pred_test.npz": bytes(1500),
    "output/train_time": b"0.1",
    "output/valid_time": b"0.1",
    "output/test_time": b"0.1",
    "output/state.txt": b"tested",
}


def open_engine(config: Mapping[str, Any], sink: Sink) -> SimulatedCluster:
    """Make the cluster that the configuration describes."""
    return SimulatedCluster(config["simulated_nodes"], config["simulated_seconds"], sink)


class SimulatedCluster:
    """Place jobs on the first node that has a free slot, and answer when their time has come.

    Parameters
    ----------
    n_nodes : int
    seconds : float
        What each fold takes.
    sink : callable
    """

    def __init__(self, n_nodes: int, seconds: float, sink: Sink) -> None:
        self._seconds = seconds
        self._sink = sink
        self._names = [f"node-{number:05}" for number in range(n_nodes)]
        self._free = deque(name for name in self._names for _ in range(SLOTS))
        self._waiting: dict[str, Job] = {}
        self._running: list[tuple[float, int, Job, str]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._is_closed = False
        self._clock = threading.Thread(target=self._tick, name="simulated-clock", daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()
        self._clock.join()

    def nodes(self, demands: Demands) -> list[Node]:
        assert demands.cpus <= 1, "a slot has one core"
        with self._changed:
            free = dict.fromkeys(self._names, 0)
            for name in self._free:
                free[name] += 1
        return [Node(name, "localhost", SLOTS, n_free) for name, n_free in free.items()]

    def submit(self, job: Job) -> None:
        with self._changed:
            self._waiting[job.name] = job
            self._changed.notify()

    def withdraw(self, name: str) -> None:
        with self._changed:
            job = self._waiting.pop(name, None)
        if job is not None:
            self._sink(JobLost(name, Loss.CLUSTER, "withdrawn"))

    def call(self, node: str, request: Frame) -> Future[Frame]:
        answer: Future[Frame] = Future()
        answers: dict[str, dict[str, Any]] = {
            "info": {"facts": _FACTS},
            "cancel": {"ended": []},
            "warm": {"is_warm": True},
        }
        if node not in self._names:
            answer.set_exception(WorkerLostError(f"there is no node {node}"))
        else:
            answer.set_result(Frame(answers.get(request.header["op"], {})))
        return answer

    def _tick(self) -> None:
        """Begin what there is a slot for, and end what its time has come for."""
        while True:
            with self._changed:
                if self._is_closed:
                    return
                begun, ended = self._begin(), self._end()
                if not begun and not ended:
                    self._changed.wait(self._seconds_left())
            for job, node in begun:
                self._sink(JobSaid(job.name, node, Frame({"said": "started", **_LEVEL})))
            for job, node in ended:
                self._sink(JobEnded(job.name, node, _answer(job)))

    def _begin(self) -> list[tuple[Job, str]]:
        begun = []
        while self._waiting and self._free:
            job, node = self._waiting.pop(next(iter(self._waiting))), self._free.popleft()
            end_at = time.monotonic() + self._seconds
            heapq.heappush(self._running, (end_at, next(self._order), job, node))
            begun.append((job, node))
        return begun

    def _end(self) -> list[tuple[Job, str]]:
        ended = []
        while self._running and self._running[0][0] <= time.monotonic():
            _, _, job, node = heapq.heappop(self._running)
            self._free.append(node)
            ended.append((job, node))
        return ended

    def _seconds_left(self) -> float | None:
        return max(0.0, self._running[0][0] - time.monotonic()) if self._running else None


_LEVEL = {"level": "namespaces", "pid": 1}
_FACTS = {
    "hostname": "localhost",
    "ramp": ramp_engine.__version__,
    "cpus": SLOTS,
    "memory_mb": 4096.0,
    "gpus": 0,
    "level": "namespaces",
    "packages": {},
}


def _answer(job: Job) -> Frame:
    names, payload = join(OUTPUTS)
    result = {"folds": [{"fold": job.request.header["fold"], "state": "tested"}]}
    ended = {"said": "ended", "how": "done", "returncode": 0, "result": result, "parts": names}
    return Frame(ended | _LEVEL, payload)
