"""The jobs that a Dask engine has in hand, and how each comes to its one end.

::

    add ──> submitted ──begin──> begun ──end, lose──> over
               │                   ^
               │ withdraw          │ (goes on: withdraw does nothing)
               v
           withdrawing ──withdrawn──> over
               │begin
               v
           begun and withdrawing ──withdrawn──> its agent is told to end it, then over

Whatever comes for a job that is over, or from elsewhere than it began, is refused. `withdrawn`
comes on the same stream as `begin`, after the key is gone: what began before was heard of by then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ramp_engine.remote.engine import Job, JobEnded, JobLost, JobSaid, Loss, Sink
from ramp_engine.remote.frames import Frame

__all__ = ["Entry", "JobBook"]


@dataclass
class Entry:
    """A job that is not over."""

    job: Job
    since: float  #: when it was submitted, monotonic [s]
    node: str | None = None  #: where it has begun
    address: str | None = None  #: of the worker process there
    allowed: frozenset[str] = frozenset()  #: worker processes where it may begin; empty: any
    is_withdrawing: bool = False
    pieces: list[bytes] = field(default_factory=list)  #: of a frame that has not come to its end


class JobBook:
    """All jobs that are not over; each event is given to the sink as it happens.

    Parameters
    ----------
    sink : callable
        Takes the events.

    Notes
    -----
    Used from one thread only.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._entries: dict[str, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    def add(self, job: Job, now: float) -> None:
        """Take a job in hand."""
        self._entries[job.name] = Entry(job, now)

    def entry(self, name: str) -> Entry | None:
        """Return a job that is not over."""
        return self._entries.get(name)

    def is_wanted(self, name: str) -> bool:
        """Whether a job is neither over nor being withdrawn."""
        entry = self._entries.get(name)
        return entry is not None and not entry.is_withdrawing

    def waiting(self) -> list[Entry]:
        """List what has neither begun nor is being withdrawn."""
        return [
            entry
            for entry in self._entries.values()
            if entry.address is None and not entry.is_withdrawing
        ]

    def begun_at(self, address: str) -> list[str]:
        """Name the jobs that have begun in a worker process."""
        return [name for name, entry in self._entries.items() if entry.address == address]

    def addresses(self) -> set[str]:
        """List the worker processes where jobs have begun."""
        return {entry.address for entry in self._entries.values() if entry.address}

    def begin(self, name: str, node: str, address: str) -> bool:
        """Note that a job has begun; False: it must not go on there."""
        entry = self._entries.get(name)
        if entry is None or entry.address not in (None, address):
            return False
        entry.node, entry.address = node, address
        return True

    def say(self, name: str, node: str, piece: bytes, header: dict[str, Any] | None) -> None:
        """Pass on what a job says; pieces before the one with the header are kept for it."""
        entry = self._entries.get(name)
        if entry is None or entry.node != node:
            return
        entry.pieces.append(piece)
        if header is not None:
            payload, entry.pieces = b"".join(entry.pieces), []
            self._sink(JobSaid(name, node, Frame(header, payload)))

    def end(self, name: str, node: str, frame: Frame) -> bool:
        """Give a job's answer; False: it was over, or is as good as withdrawn."""
        entry = self._entries.get(name)
        if entry is None or entry.is_withdrawing:
            return False
        del self._entries[name]
        self._sink(JobEnded(name, node, frame))
        return True

    def lose(self, name: str, loss: Loss, reason: str) -> bool:
        """Give a job up; False: it was over."""
        if self._entries.pop(name, None) is None:
            return False
        self._sink(JobLost(name, loss, reason))
        return True

    def lose_all(self, loss: Loss, reason: str) -> None:
        """Give all jobs up."""
        for name in list(self._entries):
            self.lose(name, loss, reason)

    def withdraw(self, names: Iterable[str]) -> list[str]:
        """Begin to take jobs back; those that have not begun, as far as is known, are returned."""
        taken = [name for name in names if self._can_withdraw(name)]
        for name in taken:
            self._entries[name].is_withdrawing = True
        return taken

    def _can_withdraw(self, name: str) -> bool:
        entry = self._entries.get(name)
        return entry is not None and entry.address is None and not entry.is_withdrawing

    def withdrawn(self, names: Iterable[str]) -> list[str]:
        """Give up what never began; return what began in the last moment, which has to be ended."""
        begun = []
        for name in names:
            entry = self._entries.get(name)
            if entry is None or not entry.is_withdrawing:
                continue
            if entry.address is None:
                self.lose(name, Loss.RECLAIMED, "it was withdrawn before it began")
            else:
                begun.append(name)
        return begun
