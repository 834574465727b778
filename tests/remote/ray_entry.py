"""Takes the place of the node's agent in tests of the engine: it does what the request says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ramp_engine.errors import WorkerLostError
from ramp_engine.remote.frames import Frame

__all__ = ["ask", "run_fold"]


def run_fold(
    node: str,
    request: Frame,
    n_slots: int,
    say: Callable[[Frame], None],
    gpus: Sequence[str] | None = None,
) -> Frame:
    header = request.header
    with Path(header.get("begun", os.devnull)).open("a") as begun:
        begun.write(f"{node}\n")
    for number in range(header.get("n_said", 0)):
        say(Frame({"said": "log", "number": number}, b"x" * number))
    say(Frame({"said": "started", "pid": os.getpid()}))
    if "until" in header:
        _wait_for(Path(header["until"]))
    if "eat_mb" in header:
        _eat(header["eat_mb"])
    if "lost" in header:
        raise WorkerLostError(header["lost"])
    if "raised" in header:
        raise RuntimeError(header["raised"])
    facts = {"n_slots": n_slots, "gpus": gpus, "nice": os.nice(0), "mark": os.environ.get("MARK")}
    return Frame({"said": "ended", **facts}, request.payload)


def ask(node: str, request: Frame, timeout_seconds: float = 60) -> Frame:
    if "until" in request.header:
        _wait_for(Path(request.header["until"]))
    if "lost" in request.header:
        raise WorkerLostError(request.header["lost"])
    return Frame({"asked": request.header, "node": node}, request.payload)


def _wait_for(path: Path) -> None:
    while not path.exists():
        time.sleep(0.02)


def _eat(n_mb: int) -> None:
    """Take so much memory, slowly, and wait for somebody to mind."""
    held = []
    for _ in range(n_mb // 16):
        held.append(bytearray(os.urandom(1 << 20) * 16))
        time.sleep(0.005)
    time.sleep(60)
