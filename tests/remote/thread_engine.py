"""An engine without a cluster: jobs are threads of the gateway, nodes are names.

What runs on a node is real: its agent, its fold server, the fold. At a socket the test takes nodes
away, brings them back, holds the scheduler, and loses the cluster.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

from ramp_engine.errors import WorkerLostError, WorkerSetupError
from ramp_engine.remote.engine import (
    Demands,
    EngineFailed,
    Job,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
    Node,
    NodeLeaving,
    NodeLost,
    Sink,
)
from ramp_engine.remote.frames import Frame, receive, send
from ramp_engine.remote.node.entry import ask, run_fold
from ramp_engine.remote.node.place import Place

N_SLOTS = 2


def open_engine(config: Mapping[str, Any], sink: Sink) -> ThreadEngine:
    return ThreadEngine(config, sink)


def control(path: Path, do: str, **more: Any) -> None:
    """Tell a thread engine what happens to its cluster, and wait until it has."""
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(60.0)
        channel.connect(str(path))
        send(channel, {"do": do, **more})
        receive(channel)  # or the end of the gateway, where that is what was asked for


class ThreadEngine:
    """The engine; `config` has ``nodes`` (names), ``control`` (a path), ``away`` (a path).

    While there is a file at ``away`` the cluster cannot be reached; while it says ``hangs``,
    connecting takes for ever.
    """

    def __init__(self, config: Mapping[str, Any], sink: Sink) -> None:
        self._config, self._sink = config, sink
        self._lock = threading.RLock()
        self._free: dict[str, int] = {}
        self._leaving: set[str] = set()
        self._waiting: list[Job] = []
        self._is_held = False
        self._is_deaf = False
        self._places: dict[str, Place] = {}
        self._pool = ThreadPoolExecutor(16, "calls")
        self._control = socket.socket(socket.AF_UNIX)

    def __enter__(self) -> Self:
        away = Path(self._config["away"])
        if away.exists():
            if away.read_text() == "hangs":
                threading.Event().wait()
            raise WorkerSetupError("no scheduler answers at thread://", "Start it")
        self._free = dict.fromkeys(self._config["nodes"], N_SLOTS)
        path = Path(self._config["control"])
        path.unlink(missing_ok=True)
        self._control.bind(str(path))
        self._control.listen()
        threading.Thread(target=self._obey, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._control.close()

    def nodes(self, demands: Demands) -> list[Node]:
        with self._lock:
            return [
                Node(name, name, N_SLOTS, n_free, {"cpus": 2}, name in self._leaving)
                for name, n_free in self._free.items()
            ]

    def submit(self, job: Job) -> None:
        with self._lock:
            self._waiting.append(job)
            self._place_jobs()

    def withdraw(self, name: str) -> None:
        with self._lock:
            for job in [] if self._is_deaf else list(self._waiting):
                if job.name == name:
                    self._waiting.remove(job)
                    self._sink(JobLost(name, Loss.RECLAIMED, "withdrawn"))

    def call(self, node: str, request: Frame) -> Future[Frame]:
        with self._lock:
            if node not in self._free:
                gone: Future[Frame] = Future()
                gone.set_exception(WorkerLostError(f"there is no node {node}"))
                return gone
            self._note_place(node, request)
        return self._pool.submit(self._ask, node, request)

    def _ask(self, node: str, request: Frame) -> Frame:
        answer = ask(node, request)
        if request.header["op"] == "info" and node in self._config.get("old_nodes", ()):
            answer.header["facts"]["python"] = "3.2.1"
        return answer

    def _place_jobs(self) -> None:
        for job in [] if self._is_held else list(self._waiting):
            places = [job.node] if job.node else sorted(self._free, key=lambda n: -self._free[n])
            node = next((n for n in places if n not in job.avoid and self._may_run(n)), None)
            if node is not None:
                self._waiting.remove(job)
                self._free[node] -= 1
                self._note_place(node, job.request)
                threading.Thread(target=self._run, args=(job, node), daemon=True).start()

    def _may_run(self, node: str) -> bool:
        return self._free.get(node, 0) > 0 and node not in self._leaving

    def _note_place(self, node: str, request: Frame) -> None:
        self._places[node] = Place.of(request.header["site"], node)

    def _run(self, job: Job, node: str) -> None:
        try:
            frame = run_fold(
                node, job.request, N_SLOTS, lambda f: self._sink(JobSaid(job.name, node, f))
            )
            self._sink(JobEnded(job.name, node, frame))
        except WorkerLostError as error:
            self._sink(JobLost(job.name, Loss.NODE, f"node {node} died: {error}"))
        finally:
            with self._lock:
                if node in self._free:
                    self._free[node] += 1
                self._place_jobs()

    def _obey(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                channel, _ = self._control.accept()
                with channel:
                    command = receive(channel)
                    assert command is not None
                    getattr(self, f"_do_{command.header.pop('do')}")(**command.header)
                    send(channel, {})

    def _do_lose(self, node: str) -> None:
        with self._lock:
            self._free.pop(node)
            place = self._places[node]
        kill_agent(place)
        self._sink(NodeLost(node, "its power failed"))

    def _do_bring(self, node: str) -> None:
        with self._lock:
            self._leaving.discard(node)
            self._free.setdefault(node, N_SLOTS)
            self._place_jobs()

    def _do_reclaim(self, node: str) -> None:
        with self._lock:
            self._leaving.add(node)
        self._sink(NodeLeaving(node, "spot notice"))

    def _do_hold(self, is_deaf: bool = False) -> None:
        with self._lock:
            self._is_held, self._is_deaf = True, is_deaf

    def _do_go_on(self) -> None:
        with self._lock:
            self._is_held = self._is_deaf = False
            self._place_jobs()

    def _do_fail(self, reason: str) -> None:
        self._sink(EngineFailed(reason))


def kill_agent(place: Place) -> None:
    """Kill the agent of a node, if there is one, by its pid."""
    with contextlib.suppress(OSError), place.connect(10.0) as channel:
        greeting = receive(channel)
        if greeting is not None:
            os.kill(greeting.header["pid"], signal.SIGKILL)
