"""Directories for a while, which a sweep tells from those that a killed process left behind.

Whoever uses one holds a lock on a file in it, which the kernel gives up when the process dies,
however it does. Pids are no proof: they are used again, and mean nothing on another machine.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

#: How the names of bundles that are being made begin.
MAKING = ".making-"
#: How the names of the folders of steps and of fold servers begin.
STEP, SERVERS = "step-", "servers-"

_LOCK = "lock"


@contextmanager
def scratch_directory(parent: Path, prefix: str) -> Iterator[Path]:
    """Make a directory that only its owner may read; it goes with the block.

    Parameters
    ----------
    parent : Path
        Made when it is missing.
    prefix : str
        Of the name, for `sweep`.

    Yields
    ------
    Path
        Holds nothing but a file called ``lock``.

    Raises
    ------
    OSError
        It cannot be made.

    Notes
    -----
    Where the file system knows no locks it is used without, and no sweep removes it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    directory, lock = _make(parent, prefix)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _make(parent: Path, prefix: str) -> tuple[Path, int]:
    while True:
        directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # a full disk
            directory.rmdir()
            raise
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        if os.fstat(lock).st_nlink:
            return directory, lock
        os.close(lock)  # a sweep came before the lock and removed it


def sweep(parent: Path, prefix: str) -> list[Path]:
    """Remove the scratch directories whose users are dead.

    Parameters
    ----------
    parent : Path
        It may be missing.
    prefix : str

    Returns
    -------
    list of Path
        Those that were removed.
    """
    return [path for path in sorted(parent.glob(f"{prefix}*")) if _remove_unused(path)]


def _remove_unused(directory: Path) -> bool:
    try:
        lock = os.open(directory / _LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # its user has not locked it yet, or removes it
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    except OSError:
        return False
    finally:
        os.close(lock)
    return not directory.exists()
