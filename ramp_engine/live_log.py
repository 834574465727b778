"""The log of an attempt while it runs: a file of the run, on the machine where it runs."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import IO

from ramp_engine.attempt import AttemptDirectory
from ramp_engine.fold_outputs import open_untrusted

__all__ = ["LiveLog"]

#: What is read at once, in bytes.
CHUNK_BYTES = 1 << 16


class LiveLog:
    """Read what a run prints, from its beginning, as it grows.

    The file is opened once and then kept, so that its end can be read also when the run has been
    removed, and nothing that takes its name later is read in its place.

    Parameters
    ----------
    directory : AttemptDirectory
        The attempt's; it need not be there, or not yet.
    """

    def __init__(self, directory: AttemptDirectory) -> None:
        self._root = directory.root
        self._opened = contextlib.ExitStack()
        self._file: IO[bytes] | None = None

    @property
    def is_open(self) -> bool:
        """Whether the log was found."""
        return self._file is not None

    def read(self) -> bytes:
        """Give what was printed since the last call, of a lot only the first part; or nothing."""
        if self._file is None:
            self._find()
        return b"" if self._file is None else self._file.read(CHUNK_BYTES)

    def close(self) -> None:
        """Let go of the file. May be called again."""
        self._opened.close()
        self._file = None

    def _find(self) -> None:
        for path in self._paths():
            with contextlib.suppress(OSError):  # removed just now, or no file of the run's own
                self._file = self._opened.enter_context(open_untrusted(path))
                return

    def _paths(self) -> list[Path]:
        return sorted(self._root.glob("scratch-*/log"))
