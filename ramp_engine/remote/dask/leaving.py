"""Ends the jobs of a Dask worker that closes, which by itself would wait half a minute for them."""

from __future__ import annotations

import contextlib
import ctypes
import threading
from collections.abc import Iterator
from typing import Any

from distributed import Worker, WorkerPlugin

__all__ = ["EndsJobs", "WorkerCloses", "ended_with", "prepare"]


class WorkerCloses(Exception):
    """The worker closes; raised in the threads where its jobs are waited for."""


class EndsJobs(WorkerPlugin):
    """Interrupts its threads as the worker begins to close."""

    name = "ramp-ends-jobs"

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - by this name
        """Interrupt them: each wakes at its next step in Python, which is within half a second."""
        for thread in list(self.threads):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(thread), ctypes.py_object(WorkerCloses)
            )


async def prepare(worker: Worker) -> EndsJobs:
    """Have the jobs of a worker ended when it closes; called in its event loop."""
    found = worker.plugins.get(EndsJobs.name)
    if not isinstance(found, EndsJobs):
        found = EndsJobs()
        await worker.plugin_add(found)
    return found


@contextlib.contextmanager
def ended_with(plugin: EndsJobs) -> Iterator[None]:
    """Have this thread interrupted when the worker closes meanwhile."""
    thread = threading.get_ident()
    plugin.threads.add(thread)
    try:
        yield
    finally:
        plugin.threads.discard(thread)
