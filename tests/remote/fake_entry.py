"""Stands in for `ramp_engine.remote.node.entry` on the nodes: jobs that do as they are told."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.frames import Frame


def run_fold(
    node: str,
    request: Frame,
    n_slots: int,
    say: Callable[[Frame], None],
    gpus: Sequence[str] | None = None,
) -> Frame:
    """Note the start in a file, then do what ``do`` says."""
    header = request.header
    if "starts" in header:
        with Path(header["starts"]).open("a") as starts:
            starts.write(f"{header['job']} {node} {os.getpid()}\n")
    match header.get("do"):
        case "say":
            for frame in header["frames"]:
                say(Frame(frame, request.payload))
        case "hold":
            say(Frame({"said": "started", "pid": os.getpid()}))
            _wait_at(header["gate"])
        case "swell":
            say(Frame({"said": "started"}))
            held = [b"x" * (32 << 20)]
            while True:
                held.append(held[0] + b"y")
        case "die":
            raise WorkerLostError("the agent died")
        case "break":
            raise ImportError("No module named 'rampwf'")
    return Frame({"how": "done", "node": node, "n_slots": n_slots}, request.payload)


def _wait_at(gate: str) -> None:
    """Wait until somebody opens a pipe to write; as in the real one, an interrupt is seen."""
    channel = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(channel, select.POLLIN | select.POLLHUP)
    while not poll.poll(200):
        pass
    os.close(channel)


def ask(node: str, request: Frame, timeout_seconds: float = 60) -> Frame:
    """Answer with the question."""
    in_loop = threading.current_thread() is threading.main_thread()
    return Frame({**request.header, "node": node, "in_loop": in_loop}, request.payload)
