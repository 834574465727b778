"""Ends the jobs of a Dask worker that closes, which by itself would wait half a minute for them."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import time
from collections.abc import Iterator
from typing import Any

from distributed import Worker, WorkerPlugin

__all__ = ["EndsJobs", "WorkerCloses", "ended_with", "prepare"]

#: How long jobs are interrupted, and the time between two tries [s].
_END_SECONDS, _AGAIN_SECONDS = 30.0, 1.0


class WorkerCloses(Exception):
    """The worker closes; raised in the threads where its jobs are waited for."""


class EndsJobs(WorkerPlugin):
    """Interrupts its threads as the worker begins to close."""

    name = "ramp-ends-jobs"

    def __init__(self) -> None:
        self.threads: set[int] = set()
        self.is_closing = False

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - by this name
        """Begin to interrupt them, and go on beside the worker's own end."""
        self.is_closing = True
        threading.Thread(target=self._interrupt, name=self.name, daemon=True).start()

    def _interrupt(self) -> None:
        """Interrupt them until all are gone, or it makes no sense any more.

        Each wakes at its next step in Python, which is within half a second. Wherever it is just
        then, somebody may take the exception for one of his own.
        """
        until = time.monotonic() + _END_SECONDS
        while self.threads and time.monotonic() < until:
            for thread in list(self.threads):
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(WorkerCloses)
                )
            time.sleep(_AGAIN_SECONDS)


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
        if plugin.is_closing:  # it was too late to be among those who are interrupted
            raise WorkerCloses
        yield
    finally:
        plugin.threads.discard(thread)
