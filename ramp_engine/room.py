"""Room on the disk: what tells that there is none, and whether there is some again.

A full disk fails every attempt at once, and no submission is to blame: the attempts are given back,
and whoever claims waits until a small file can be written.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Room", "as_good_as_full", "find_full"]

logger = logging.getLogger(__name__)

#: With less room left, or less than a tenth of a small disk, it is as good as full, in bytes.
MIN_FREE_BYTES = 64 << 20
#: What is written to see whether there is room, in bytes.
_PROBE_BYTES = 64 << 10
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def find_full(error: BaseException, default: Path) -> Path | None:
    """Find the directory whose disk, or quota, was full, anywhere among the causes of an error.

    Parameters
    ----------
    error : BaseException
    default : Path
        The answer where the error names no path.

    Returns
    -------
    Path or None
        None: it is about something else.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and _is_full(one):
            name = one.filename2 or one.filename
            if not isinstance(name, str | bytes | os.PathLike):
                return default
            path = Path(os.fsdecode(name))
            return path if path.is_dir() else path.parent
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__context__, one.__cause__]


def _is_full(error: OSError) -> bool:
    if isinstance(error, shutil.Error) and error.args and isinstance(error.args[0], list):
        # copying a tree gathers errors as texts: (source, target, text)
        marks = [f"[Errno {number}]" for number in _FULL]
        return any(mark in str(told[-1]) for told in error.args[0] for mark in marks)
    return error.errno in _FULL


def as_good_as_full(directory: Path) -> OSError | None:
    """Give the likely cause of a failure for no known reason, where it is the disk."""
    usage = shutil.disk_usage(directory)
    if usage.free >= min(MIN_FREE_BYTES, usage.total // 10):
        return None
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(directory))


class Room:
    """Whether a disk takes files.

    Parameters
    ----------
    directory : Path
        Lies on the disk; is made when it is missing.

    Attributes
    ----------
    is_there : bool
        What is known of it.
    """

    def __init__(self, directory: Path) -> None:
        self.is_there = True
        self._directory = directory
        self._is_doubted = False

    def doubt(self) -> None:
        """Have `check` look: the disk was found full."""
        self._is_doubted = True

    def check(self) -> None:
        """Look again, where there is doubt; tell when the answer changes.

        Notes
        -----
        Writes a small file, waits for the disk, and removes it; costs nothing without doubt. Some
        room beyond that must be free: the runs that failed gave back a little, and the next ones
        need as much.
        """
        if not self._is_doubted:
            return
        error = self._try_to_write()
        self._is_doubted = error is not None
        if error is not None and self.is_there:
            place = self._directory
            logger.error("nothing is claimed until there is room in %s: %s", place, error)
        elif error is None and not self.is_there:
            logger.warning("there is room in %s again: claiming goes on", self._directory)
        self.is_there = error is None

    def _try_to_write(self) -> OSError | None:
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._directory) as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            return as_good_as_full(self._directory)
        except OSError as error:
            return error
