"""What a piece of code does with files, sockets and processes."""

from __future__ import annotations

import sys
import threading
from typing import Any, ClassVar

__all__ = ["audited"]


class audited:  # noqa: N801  used as a function
    """Collect what this thread does with files, sockets and processes, by an audit hook."""

    _active: ClassVar[audited | None] = None
    _is_hooked: ClassVar[bool] = False

    def __enter__(self) -> list[str]:
        self.events: list[str] = []
        self.thread = threading.get_ident()
        if not audited._is_hooked:  # a hook cannot be taken away again
            sys.addaudithook(audited._hook)
            audited._is_hooked = True
        audited._active = self
        return self.events

    def __exit__(self, *_: object) -> None:
        audited._active = None

    @staticmethod
    def _hook(event: str, _arguments: tuple[Any, ...]) -> None:
        active = audited._active
        kinds = ("open", "os.", "socket.", "subprocess.", "shutil.", "urllib.")
        if active and threading.get_ident() == active.thread and event.startswith(kinds):
            active.events.append(event)
