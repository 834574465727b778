"""What a piece of code does with files, sockets and processes."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["AuditEvent", "audited", "written_paths"]

#: An event of `sys.audit`, and its arguments.
AuditEvent = tuple[str, tuple[Any, ...]]

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
#: Where the arguments of an event name what it makes.
_MADE = {"os.mkdir": 0, "os.rename": 1, "os.link": 1, "os.symlink": 1}


class audited:  # noqa: N801  used as a function
    """Collect what this thread does with files, sockets and processes, by an audit hook."""

    _active: ClassVar[audited | None] = None
    _is_hooked: ClassVar[bool] = False

    def __enter__(self) -> list[AuditEvent]:
        self.events: list[AuditEvent] = []
        self.thread = threading.get_ident()
        if not audited._is_hooked:  # a hook cannot be taken away again
            sys.addaudithook(audited._hook)
            audited._is_hooked = True
        audited._active = self
        return self.events

    def __exit__(self, *_: object) -> None:
        audited._active = None

    @staticmethod
    def _hook(event: str, arguments: tuple[Any, ...]) -> None:
        active = audited._active
        kinds = ("open", "os.", "socket.", "subprocess.", "shutil.", "urllib.")
        if active and threading.get_ident() == active.thread and event.startswith(kinds):
            active.events.append((event, arguments))


def written_paths(events: Iterable[AuditEvent]) -> Iterator[Path]:
    """Give the files and folders that were made or opened for writing, by their absolute paths.

    Those that were named relative to a folder are left out: nobody knows which folder it was.
    """
    for event, arguments in events:
        if event == "open" and arguments[2] & _WRITING:
            yield from _absolute(arguments[0])
        elif event in _MADE:
            yield from _absolute(arguments[_MADE[event]])


def _absolute(path: object) -> Iterator[Path]:
    if isinstance(path, str | bytes | os.PathLike):
        found = Path(os.fsdecode(path))
        if found.is_absolute():
            yield found
