"""What a Dask worker does for a gateway: run a job in one of its threads, answer a question beside.

A job begins in two steps, each a message to the scheduler: it says where it begins, then pins
its key to this worker. A pinned key is run nowhere else when this worker dies, however many
failures the scheduler allows; and a key that was withdrawn meanwhile cannot be pinned.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from distributed import Worker, get_worker
from distributed.comm import get_address_host
from distributed.utils import sync

from ramp_engine.remote.dask.leaving import EndsJobs, ended_with, prepare
from ramp_engine.remote.frames import Frame

__all__ = ["ENTRY", "Notice", "Slots", "ask", "key_of", "pack", "run_job"]

#: What runs folds on a node.
ENTRY = "ramp_engine.remote.node.entry"
#: The scheduler keeps the last 1000 events of a topic, whoever reads them: longer frames go in
#: pieces of so many bytes, which bounds what a gateway makes it keep to 8 MB.
_PIECE = 8 << 10
#: A scheduler that is slow is waited for; who has not answered after so long never does [s].
_BEGIN_SECONDS = 1800.0


class Notice(NamedTuple):
    """Where a job tells the gateway how it goes on."""

    topic: str
    name: str  #: of the job
    node: str


class Slots(NamedTuple):
    """How many jobs fit on a node."""

    usual: int
    others: Mapping[str, int]  #: where it is another number than the usual one

    def of(self, node: str) -> int:
        """Count those of a node."""
        return self.others.get(node, self.usual)


def key_of(name: str) -> str:
    """Name the key that the scheduler knows a job by."""
    return f"ramp-{name}"


def pack(name: str, request: Frame) -> bytes:
    """Make a job opaque for Dask, which would look for keys in it."""
    return json.dumps([name, request.header]).encode() + b"\n" + request.payload


def run_job(packed: bytes, *, topic: str, slots: Slots, entry: str) -> tuple[str, Any, bytes]:
    """Run a job on the worker that this is.

    Parameters
    ----------
    packed : bytes
        From `pack`.
    topic : str
        Where the gateway listens.
    slots : Slots
    entry : str
        Module with ``run_fold``.

    Returns
    -------
    node : str
    header : dict
    payload : bytes
        Of the answer.

    Raises
    ------
    KeyError
        The job was withdrawn before it could begin; nobody waits for it.
    WorkerLostError
        The node's agent died.
    WorkerCloses
        It was asked to; the fold ends.
    """
    header_bytes, _, payload = packed.partition(b"\n")
    name, header = json.loads(header_bytes)
    worker = get_worker()
    notice = Notice(topic, name, get_address_host(worker.address))
    run_fold = importlib.import_module(entry).run_fold
    whose = {key: header.get(key) for key in ("lease", "lease_seconds", "site")}
    closing = sync(worker.loop, _begin, worker, notice, whose, callback_timeout=_BEGIN_SECONDS)
    with ended_with(closing):
        ended = run_fold(
            notice.node,
            Frame(header, payload),
            slots.of(notice.node),
            lambda frame: _say(worker, notice, frame),
        )
    return notice.node, ended.header, ended.payload


async def _begin(worker: Worker, notice: Notice, whose: dict[str, Any]) -> EndsJobs:
    """Say that the job begins here, and let it begin nowhere else."""
    closing = await prepare(worker)
    said = {"job": notice.name, "node": notice.node, "begun": worker.address, "whose": whose}
    await worker.scheduler.log_event(topic=notice.topic, msg=said)
    await worker.scheduler.set_restrictions(worker={key_of(notice.name): worker.address})
    return closing


def _say(worker: Worker, notice: Notice, frame: Frame) -> None:
    for start in range(0, max(1, len(frame.payload)), _PIECE):
        is_last = start + _PIECE >= len(frame.payload)
        said = {"job": notice.name, "node": notice.node, "bytes": frame.payload[start:][:_PIECE]}
        worker.log_event(notice.topic, said | ({"header": frame.header} if is_last else {}))


async def ask(
    node: str, header: dict[str, Any], payload: bytes, timeout_seconds: float, entry: str
) -> tuple[dict[str, Any], bytes]:
    """Ask the node's agent, in a thread that is none of those for tasks.

    Raises
    ------
    WorkerLostError
        There is no answer.
    """
    question = importlib.import_module(entry).ask
    answer = await asyncio.to_thread(question, node, Frame(header, payload), timeout_seconds)
    return answer.header, answer.payload
