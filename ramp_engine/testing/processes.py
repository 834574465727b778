"""Find processes that a run has left behind."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["processes_with"]


def processes_with(text: str) -> list[int]:
    """List the processes, other than this one, that name `text` in command or environment.

    Parameters
    ----------
    text : str
        Such as a directory that only the run was given.
    """
    wanted = text.encode()
    pids = (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit())
    return [pid for pid in pids if pid != os.getpid() and wanted in _words(pid)]


def _words(pid: int) -> bytes:
    """Give command and environment of a process; empty for a zombie, and for one that is gone."""
    try:
        return b"".join(Path(f"/proc/{pid}", name).read_bytes() for name in ("cmdline", "environ"))
    except OSError:
        return b""
