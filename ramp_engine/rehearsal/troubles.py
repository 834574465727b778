"""Troubles that a dispatcher of a rehearsal has for as long as a file says so.

They are made where every write and every statement passes: a hook of the interpreter that sees each
file opened, and an event of SQLAlchemy. No code of the engine knows of them.
"""

from __future__ import annotations

import errno
import os
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

__all__ = ["DISK_FULL", "REFUSING", "install"]

#: Files in the folder of the troubles.
DISK_FULL, REFUSING = "disk_full", "refusing"
#: While statements are refused, it is this share of them.
_REFUSED_SHARE = 1 / 3
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def install(troubles_dir: Path, engine: Engine, event_dir: Path) -> None:
    """Let this process have the troubles, until it ends.

    Parameters
    ----------
    troubles_dir : Path
        Holds a file for each trouble that is on.
    engine : Engine
        Its statements are refused.
    event_dir : Path
        On this disk there is no room, as ENOSPC.
    """
    refuse_statements(engine, lambda: (troubles_dir / REFUSING).exists())
    refuse_writes(event_dir, lambda: (troubles_dir / DISK_FULL).exists())


def refuse_statements(engine: Engine, is_on: Callable[[], bool]) -> None:
    """Refuse one statement in three while `is_on` says so, wherever in a transaction it stands."""
    draw = random.Random(os.getpid())  # noqa: S311  no statement shall be spared, or refused for ever

    def refuse(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if is_on() and draw.random() < _REFUSED_SHARE:
            raise OperationalError(statement, parameters, RuntimeError("refused, for a rehearsal"))

    event.listen(engine, "before_cursor_execute", refuse)


def refuse_writes(directory: Path, is_on: Callable[[], bool]) -> None:
    """Refuse to open files for writing and to make folders below `directory` while `is_on`.

    Notes
    -----
    A hook of the interpreter cannot be taken back.
    """
    inside = str(directory) + os.sep

    def refuse(name: str, arguments: tuple[Any, ...]) -> None:
        if name not in ("open", "os.mkdir"):
            return
        path = arguments[0]
        is_write = name == "os.mkdir" or bool(arguments[2] & _WRITING)
        if is_write and isinstance(path, str) and path.startswith(inside) and is_on():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)

    sys.addaudithook(refuse)
