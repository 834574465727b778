"""What goes on between this process and a Ray cluster while they are connected."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
import uuid
from concurrent.futures import Future
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ramp_engine.errors import WorkerSetupError
from ramp_engine.remote.engine import Job, Loss, NodeLeaving, NodeLost
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.ray import tasks as ray_tasks
from ramp_engine.remote.ray.callers import Callers
from ramp_engine.remote.ray.connection import Endpoint
from ramp_engine.remote.ray.head import watch_head
from ramp_engine.remote.ray.jobs import Jobs
from ramp_engine.remote.ray.losses import loss_of, short
from ramp_engine.remote.ray.places import Patience, ray_demands

__all__ = ["RaySession"]

_log = logging.getLogger(__name__)

#: How long the runtime environment, and a process in it, may take on the head, in seconds.
POST_SECONDS = 600.0
#: What is asked of the post office is answered in so many seconds, or it is gone.
ANSWER_SECONDS = 30.0
#: How long the gateway waits for news at a time, in seconds.
NEWS_SECONDS = 30.0
#: How often what may be overdue is looked at, in seconds.
CARE_SECONDS = 1.0
#: The last words of a job whose process died are given up after so many seconds.
LAST_WORDS_SECONDS = 5.0
#: A node that has left is known to have left after so many seconds at most.
FATE_SECONDS = 1.0
#: How long Ray may take to disconnect, in seconds.
CLOSE_SECONDS = 20.0
#: The label by which Ray itself names each node.
NODE_LABEL = "ray.io/node-id"
_GONE = "it is no longer part of the Ray cluster"
_STOP: tuple[str, Future[Any]] = ("", Future())


class RaySession:
    """The jobs, messages and questions of one connection.

    Parameters
    ----------
    jobs : Jobs
        Told what becomes of them.
    endpoint : Endpoint
        The head.
    entry : str
        Module on the nodes that talks to the agent there.
    """

    def __init__(self, jobs: Jobs, endpoint: Endpoint, entry: str) -> None:
        ray.cloudpickle.register_pickle_by_value(ray_tasks)
        self._jobs = jobs
        self._endpoint = endpoint
        self._entry = entry
        self._task: Any = ray.remote(ray_tasks.run_job)
        self._callers = Callers(entry)
        self._ended: queue.SimpleQueue[tuple[str, Future[Any]]] = queue.SimpleQueue()
        self._is_closing = threading.Event()
        self._threads: list[threading.Thread] = []
        self._post: Any = None
        self._post_name = f"ramp-{uuid.uuid4().hex}"

    def start(self, start_timeout: float) -> None:
        """Have a post office, and begin to listen.

        Parameters
        ----------
        start_timeout : float
            How long a demand may be one that no node can meet [s].

        Raises
        ------
        WorkerSetupError
            Nothing can run beside the head.
        """
        self._post = self._post_office()
        self._patience = Patience(start_timeout)
        self._care_seconds = max(CARE_SECONDS, min(10.0, start_timeout / 20))
        works = [self._hear, self._take_ends, self._care, self._watch]
        self._threads = [
            threading.Thread(target=work, name=f"ray-{work.__name__}", daemon=True)
            for work in works
        ]
        for thread in self._threads:
            thread.start()

    def _post_office(self) -> Any:
        post = (
            ray.remote(ray_tasks.PostOffice)
            .options(
                name=self._post_name,
                num_cpus=0,
                resources={"node:__internal_head__": 0.001},
                max_restarts=0,
                max_task_retries=0,
            )
            .remote()
        )
        try:
            ray.get(post.about.remote(), timeout=POST_SECONDS)
        except ray.exceptions.GetTimeoutError as error:
            raise WorkerSetupError(
                f"nothing of ours starts on the head of {self._endpoint} within {POST_SECONDS:g} s",
                "Look at the head's logs, and whether runtime_env can be made there",
            ) from error
        except ray.exceptions.RayError as error:
            raise WorkerSetupError(
                f"nothing of ours can run on the head of {self._endpoint}: {short(error)}"
            ) from error
        return post

    def submit(self, job: Job) -> None:
        """Give a job to Ray."""
        try:
            task = self._options(job).remote(
                self._post_name,
                job.name,
                self._entry,
                job.request.header,
                job.request.payload,
                ray_demands(job.demands),
            )
        except (ray.exceptions.RayError, ValueError, TypeError, OSError) as error:
            self._jobs.lost(job.name, Loss.BROKEN, f"Ray does not take it: {short(error)}")
            return
        if self._jobs.set_task(job.name, task):
            _take_back(task)
        task.future().add_done_callback(lambda ended: self._ended.put((job.name, ended)))

    def _options(self, job: Job) -> Any:
        demands = job.demands
        options: dict[str, Any] = {}
        labels = dict(demands.labels)
        if job.avoid:
            labels.setdefault(NODE_LABEL, f"!in({','.join(sorted(job.avoid))})")
        if labels:
            options["label_selector"] = labels
        if demands.memory_mb:
            options["memory"] = ray_demands(demands)["memory"]
        if job.node is not None:
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(job.node, soft=False)
        return self._task.options(
            name=job.name,
            num_cpus=demands.cpus,
            num_gpus=demands.gpus,
            resources=dict(demands.resources),
            max_retries=0,
            **options,
        )

    def withdraw(self, name: str) -> None:
        """Take a job back that has not begun."""
        task = self._jobs.withdraw(name)
        if task is not None:
            _take_back(task)

    def ask(self, node: str, request: Frame) -> Future[Frame]:
        """Have a node's agent answer."""
        return self._callers.ask(node, request)

    def look(self) -> list[dict[str, Any]] | None:
        """Describe the living nodes; None when that cannot be found out just now."""
        if self._jobs.has_failed:
            return None
        try:
            views: list[dict[str, Any]] = ray.get(self._post.look.remote(), timeout=ANSWER_SECONDS)
        except (ray.exceptions.RayError, OSError, RuntimeError):
            return None
        return views

    def close(self) -> None:
        """Leave the cluster; all that it has of us ends."""
        self._is_closing.set()
        self._ended.put(_STOP)
        if not self._jobs.has_failed:
            for task in self._jobs.tasks():
                _take_back(task)
            if self._post is not None:
                self._post.put.remote("", "", 0, None, b"")  # wakes who waits for news
        self._callers.give_up("the engine is being left")
        for thread in self._threads:
            thread.join(CLOSE_SECONDS if not self._jobs.has_failed else 0)
        leaving = threading.Thread(target=ray.shutdown, name="ray-shutdown", daemon=True)
        leaving.start()
        leaving.join(CLOSE_SECONDS)

    def _hear(self) -> None:
        """Fetch what jobs say and nodes do, all that has come at a time."""
        while not self._is_closing.is_set():
            try:
                items = ray.get(self._post.take.remote(NEWS_SECONDS))
            except (ray.exceptions.RayError, OSError, RuntimeError) as error:
                self._fail(f"the head of the Ray cluster is lost: {short(error)}")
                return
            for kind, *item in items:
                self._handle(kind, *item)

    def _handle(self, kind: str, *item: Any) -> None:
        match kind, item:
            case "said", (job, node, number, header, payload):
                frame = None if header is None else Frame(header, payload)
                self._jobs.heard(job, node, number, frame)
            case "leaving", (node, deadline):
                self._jobs.tell(NodeLeaving(node, _until(deadline)))
            case "gone", (node,):
                self._jobs.tell(NodeLost(node, _GONE))
                self._lose_all_on(node)

    def _lose_all_on(self, node: str) -> None:
        """Take the jobs of a node that has gone for lost.

        Ray tells of them itself when the node's machine says so; where its network is cut, nobody
        does, and Ray waits minutes for the connections to fail.
        """
        for name in self._jobs.on(node):
            lost: Future[Any] = Future()
            lost.set_exception(ray.exceptions.NodeDiedError(f"node {node}: {_GONE}"))
            self._ended.put((name, lost))

    def _take_ends(self) -> None:
        """Take the ends of tasks, one after another."""
        while (found := self._ended.get()) is not _STOP:
            name, ended = found
            try:
                self._jobs.answered(name, ended.result())
            except Exception as error:  # noqa: BLE001  whatever was raised on the node, or by grpc
                self._take_loss(name, error)

    def _take_loss(self, name: str, error: BaseException) -> None:
        loss, reason = loss_of(error), short(error)
        known = self._jobs.get(name)
        if known is None or known.answer is not None:
            return
        if loss is Loss.NODE and known.node is not None:
            is_node = isinstance(error, ray.exceptions.NodeDiedError)
            fate = self._fate(known.node, FATE_SECONDS if is_node else 0.0)
            if fate is not None:
                loss, reason = Loss.RECLAIMED, f"node {known.node} has left: {fate}"
        self._jobs.lost(name, loss, reason)

    def _fate(self, node: str, seconds: float) -> str | None:
        try:
            asked = self._post.fate.remote(node, seconds)
            fate: str | None = ray.get(asked, timeout=seconds + ANSWER_SECONDS)
        except (ray.exceptions.RayError, OSError, RuntimeError) as error:
            _log.warning("why a node has left is not known: %s", short(error))
            return None
        return fate

    def _care(self) -> None:
        """Look after what does not tell by itself that it takes too long."""
        looked_at = time.monotonic()
        while not self._is_closing.wait(CARE_SECONDS) and not self._jobs.has_failed:
            self._jobs.end_overdue(LAST_WORDS_SECONDS)
            self._callers.look_after(self._jobs.nodes())
            if looked_at + self._care_seconds < time.monotonic():
                self._look_after_waiting()
                looked_at = time.monotonic()

    def _look_after_waiting(self) -> None:
        """Tell of jobs whose demands no node has met for too long."""
        waiting = self._jobs.waiting(CARE_SECONDS)
        views = self.look() if waiting else None
        if views is None:
            return
        for known in waiting:
            demands = ray_demands(known.job.demands)
            reason = self._patience.end_of(views, demands, known.job.node)
            if reason is not None:
                task = self._jobs.withdraw(known.job.name)
                self._jobs.lost(known.job.name, Loss.UNPLACED, reason)
                if task is not None:
                    _take_back(task)

    def _watch(self) -> None:
        reason = watch_head(self._endpoint, self._is_closing)
        if reason is not None:
            self._fail(reason)

    def _fail(self, reason: str) -> None:
        if not self._is_closing.is_set():
            self._jobs.fail(reason)
            self._callers.give_up(reason)


def _take_back(task: Any) -> None:
    """Cancel a task that has not begun; where the cluster is gone, that is told elsewhere."""
    try:
        ray.cancel(task, force=False)
    except Exception as error:  # noqa: BLE001  grpc raises what it likes, over ray://
        _log.warning("a job cannot be taken back: %s", short(error))


def _until(deadline_ms: int) -> str:
    """Say until when a node that was asked to leave is there."""
    if not deadline_ms:
        return "Ray drains it"
    seconds = deadline_ms / 1000 - time.time()
    with contextlib.suppress(ValueError, OverflowError):
        return f"Ray drains it, it has {max(0, round(seconds))} s"
    return "Ray drains it"
