"""The jobs of a Dask worker that closes end, wherever its interrupt finds them."""

from __future__ import annotations

import threading
import time

import pytest

from ramp_engine.remote.dask.leaving import EndsJobs, WorkerCloses, ended_with

PATIENCE_SECONDS = 60.0


class Job(threading.Thread):
    """A job that takes the first interrupts for something else."""

    def __init__(self, plugin: EndsJobs, n_swallowed: int) -> None:
        super().__init__(daemon=True)
        self._plugin = plugin
        self._n_left = n_swallowed
        self.has_begun = threading.Event()

    def run(self) -> None:
        try:
            with ended_with(self._plugin):
                self.has_begun.set()
                while True:
                    self._wait()
        except WorkerCloses:
            return

    def _wait(self) -> None:
        try:
            while True:
                time.sleep(0.01)
        except WorkerCloses:
            self._n_left -= 1
            if self._n_left < 0:
                raise


def test_a_job_is_interrupted_until_it_ends() -> None:
    plugin = EndsJobs()
    jobs = [Job(plugin, 0), Job(plugin, 2)]
    for job in jobs:
        job.start()
        assert job.has_begun.wait(PATIENCE_SECONDS)
    plugin.teardown(None)
    for job in jobs:
        job.join(PATIENCE_SECONDS)
        assert not job.is_alive()
    assert not plugin.threads


def test_a_job_that_begins_when_its_worker_closes_ends_at_once() -> None:
    plugin = EndsJobs()
    plugin.teardown(None)
    with pytest.raises(WorkerCloses), ended_with(plugin):
        raise AssertionError("it has begun")
    assert not plugin.threads
