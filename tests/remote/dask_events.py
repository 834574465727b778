"""What a Dask engine has said, for tests to wait for."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ramp_engine.remote.engine import Demands, EngineEvent, Job, JobEnded, JobLost
from ramp_engine.remote.frames import Frame

_PATIENCE = 90.0


class Heard:
    """A sink that keeps all events."""

    def __init__(self) -> None:
        self.events: list[EngineEvent] = []
        self._changed = threading.Condition()

    def __call__(self, event: EngineEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()

    def wait_for(self, is_it: Callable[[EngineEvent], bool], what: str = "an event") -> Any:
        """Wait for an event, also one that has come already."""
        deadline = time.monotonic() + _PATIENCE
        with self._changed:
            while not (found := [event for event in self.events if is_it(event)]):
                if not self._changed.wait(deadline - time.monotonic()):
                    raise AssertionError(f"waited in vain for {what}: {self.events}")
        return found[0]

    def a(self, kind: type[Any], job: str | None = None) -> Any:
        """Wait for an event of a kind, of a job."""
        return self.wait_for(
            lambda event: isinstance(event, kind) and job in (None, getattr(event, "job", None)),
            f"{kind} {job or ''}",
        )

    def end_of(self, job: str) -> JobEnded | JobLost:
        """Wait for a job's end."""
        found: JobEnded | JobLost = self.a(JobEnded | JobLost, job)
        return found

    def ends_of(self, job: str) -> list[EngineEvent]:
        """List all the ends that a job has come to."""
        return [e for e in self.events if isinstance(e, JobEnded | JobLost) and e.job == job]


def make_job(
    name: str,
    payload: bytes = b"",
    node: str | None = None,
    demands: Demands | None = None,
    avoid: frozenset[str] = frozenset(),
    **header: Any,
) -> Job:
    """Make a job for `tests.remote.fake_entry`."""
    request = Frame({"op": "fold", "job": name, **header}, payload)
    return Job(name, request, demands or Demands(), node, avoid)


class Gate:
    """Holds jobs until it is opened; each notes its start."""

    def __init__(self, folder: Path, name: str = "gate") -> None:
        self._path = folder / name
        self._starts = folder / f"{name}.starts"
        self._starts.touch()
        os.mkfifo(self._path)

    @property
    def header(self) -> dict[str, str]:
        return {"do": "hold", "gate": str(self._path), "starts": str(self._starts)}

    @property
    def starts(self) -> list[str]:
        """Name the jobs that have started, once for each start."""
        return [line.split()[0] for line in self._starts.read_text().splitlines()]

    def open(self) -> None:
        """Let all that wait, and all that come, go on."""
        waited_at, always = self._path.with_suffix(".old"), self._path.with_suffix(".new")
        os.link(self._path, waited_at)
        always.touch()
        always.replace(self._path)
        with waited_at.open("r+b", buffering=0):
            pass
