"""A node of a cluster without a cluster: its agent, and somebody who asks it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ramp_engine.bundle_archive import BundleArchive, read_part
from ramp_engine.errors import WorkerLostError
from ramp_engine.evaluation.supervise import descendants
from ramp_engine.remote import parts
from ramp_engine.remote.frames import Frame, receive
from ramp_engine.remote.node.entry import ask, run_fold
from ramp_engine.remote.node.place import Place
from ramp_engine.testing.scenarios import Scenario, estimator_source
from tests.open_environment import open_python

NODE = "node-1"
PATIENCE_SECONDS = 60.0


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something that tells of itself in no other way."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until, f"never came: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether there is a process; a zombie is none."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


class NodeRoom:
    """One gateway's view of a node.

    Parameters
    ----------
    node_dir : Path
    archive : BundleArchive
        The bundle of the event.
    key : str
        Of the event: each has an agent of its own.
    """

    def __init__(self, node_dir: Path, archive: BundleArchive, key: str = "a" * 16) -> None:
        self.archive = archive
        self.site = {"key": key, "node_dir": str(node_dir)}
        self.place = Place.of(self.site, NODE)
        environment = {"python": str(open_python())}
        self.spec: dict[str, Any] = {"environment": environment, "keys": {}}
        self.spec |= {"n_threads": 1, "cache_mb": 100}
        self.lease = "lease-1"
        self.lease_seconds = 60.0

    def request(self, op: str, payload: bytes = b"", **more: Any) -> Frame:
        header = {"op": op, "lease": self.lease, "lease_seconds": self.lease_seconds}
        header |= {"site": self.site, "spec": dict(self.spec), "bundle": self.bundle}
        return Frame(header | more, payload)

    @property
    def bundle(self) -> dict[str, Any]:
        return self.archive.bundle.to_json()

    def ask(self, op: str, payload: bytes = b"", **more: Any) -> dict[str, Any]:
        return ask(NODE, self.request(op, payload, **more)).header

    def upload(self) -> dict[str, Any]:
        offset = 0
        while True:
            answer = self.ask("bundle", read_part(self.archive, offset), offset=offset)
            if answer.get("done") or "error" in answer:
                return answer
            offset = answer["have"]

    def agent_pid(self) -> int:
        pid = self.ask("info")["facts"]["pid"]
        assert isinstance(pid, int)
        return pid

    def fold_request(self, job: str, source: str, **more: Any) -> Frame:
        checkpoint: dict[str, bytes] = more.pop("checkpoint", {})
        names, payload = parts.join({"estimator.py": source.encode()})
        kept, saved = parts.join(checkpoint)
        said = {"job": job, "fold": 0, "timeout_seconds": 60, "gpus": 0}
        said |= {"files": names, "checkpoint": kept}
        return self.request("fold", payload + saved, **(said | more))

    def fold(self, job: str, scenario: Scenario | str, **more: Any) -> RunningFold:
        """Start a fold; wait for nothing."""
        source = estimator_source(scenario) if isinstance(scenario, Scenario) else scenario
        return RunningFold(self, self.fold_request(job, source, **more))


def end_agent(place: Place) -> None:
    """End the agent of a place by its pid, if it lives; nothing of it may be left."""
    try:
        with place.connect(10.0) as channel:
            greeting = receive(channel)
    except OSError:
        return
    if greeting is None:  # it is just about to end
        return
    pid = greeting.header["pid"]
    tree = [pid, *descendants(pid)]
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not any(map(is_alive, tree)), "the end of the agent")


class RunningFold:
    """A fold that somebody waits for in a thread."""

    def __init__(self, room: NodeRoom, request: Frame) -> None:
        self._room = room
        self._request = request
        self._frames: queue.Queue[Frame] = queue.Queue()
        self._error: WorkerLostError | None = None
        self._ended: Frame | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.said: list[str] = []

    def _run(self) -> None:
        try:
            self._ended = run_fold(NODE, self._request, 2, self._hear)
        except WorkerLostError as error:
            self._error = error

    def _hear(self, frame: Frame) -> None:
        if frame.header["said"] == "needs":
            self._room.upload()
        self._frames.put(frame)

    def await_said(self, what: str, text: bytes = b"") -> Frame:
        """Wait until it says something, with some text in it."""
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            frame = self._frames.get(timeout=max(0.1, until - time.monotonic()))
            self.said.append(frame.header["said"])
            if frame.header["said"] == what and text in frame.payload:
                return frame

    def await_started(self) -> list[int]:
        """Wait until its code prints; give the pids of all below its supervisor."""
        pid = self.await_said("started").header["pid"]
        self.await_said("log", b"hanging")
        return list(descendants(pid))

    def end(self) -> dict[str, Any]:
        """Wait for the last word."""
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "the fold does not end"
        if self._error is not None:
            raise self._error
        assert self._ended is not None
        while not self._frames.empty():
            self.said.append(self._frames.get().header["said"])
        return self._ended.header

    def files(self) -> dict[str, bytes]:
        """Wait for the end, and give what came with it."""
        names = self.end()["parts"]
        assert self._ended is not None
        return {name: bytes(data) for name, data in parts.split(names, self._ended.payload).items()}
