"""What a fold prints while another one has the log: kept aside until its turn comes.

As much is kept as the log itself would of a run that prints nothing else: the head and the tail.
Appended to the log it therefore gives what the fold would have printed straight into it.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import Optional

from .log_pump import Log

#: What is read back at once [bytes].
_CHUNK = 1 << 20


class LogAside:
    """A part of a log, in a file without a name, which goes with this object.

    Parameters
    ----------
    folder : Path
        On whose disk it is; made when missing.
    max_bytes : int or None
        Size of the log [bytes]; None: without limit.

    Notes
    -----
    The second half of the file is written round and round. A full disk costs lines of the log,
    never the fold: from then on nothing more is kept.
    """

    def __init__(self, folder: Path, max_bytes: Optional[int]) -> None:
        self._folder = folder
        self._half = None if max_bytes is None else max(1, max_bytes // 2)
        self._descriptor = -1
        self._n_bytes = 0
        self._n_lost = 0

    def write(self, data: bytes) -> None:
        """Take more of it."""
        view = memoryview(data)
        with contextlib.suppress(OSError):
            while view and not self._n_lost:
                view = view[self._put(view) :]
        self._n_lost += len(view)

    def _put(self, view: memoryview) -> int:
        if self._descriptor < 0:
            self._descriptor = _open_unnamed(self._folder)
        place, room = self._place(self._n_bytes)
        n_bytes = os.pwrite(self._descriptor, view if room is None else view[:room], place)
        self._n_bytes += n_bytes
        return n_bytes

    def _place(self, number: int) -> tuple[int, Optional[int]]:
        """Return where a byte is in the file, and how many can follow it there."""
        half = self._half
        if half is None:
            return number, None
        place = number if number < half else half + number % half
        return place, half - number % half

    def move_to(self, log: Log) -> None:
        """Append it to the log, and forget it."""
        n_bytes, half = self._n_bytes, self._half
        if half is None or n_bytes <= 2 * half:
            self._copy(0, n_bytes, log)
        else:
            self._copy(0, half, log)
            log.leave_out(n_bytes - 2 * half)
            self._copy(n_bytes - half, n_bytes, log)
        if self._n_lost:
            log.leave_out(self._n_lost)
        self.close()

    def _copy(self, start: int, end: int, log: Log) -> None:
        while start < end:
            place, room = self._place(start)
            n_bytes = min(_CHUNK, end - start, end if room is None else room)
            data = os.pread(self._descriptor, n_bytes, place)
            log.write(data)
            start += len(data) or end  # it cannot have become shorter

    def close(self) -> None:
        """Forget it. May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._n_bytes = self._n_lost = 0


def _open_unnamed(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        return os.dup(file.fileno())
