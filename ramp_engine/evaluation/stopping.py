"""The wish that a run ends: SIGTERM, which the supervisor sends before it kills.

It is acted upon in the loop of the parent and not where the signal happens to fall, so that logs
and files are whole. SIGUSR1 is the wish that the participant's code ends by itself: it is told.
"""

from __future__ import annotations

import contextlib
import os
import signal
from types import FrameType, TracebackType
from typing import Any, Optional

__all__ = ["StopSignal", "StoppedError"]


class StopSignal:
    """Notice SIGTERM and SIGUSR1 in place of dying of them, within a block.

    A SIGTERM that comes after the block does nothing if there was one in it: the process is ending.
    """

    def __init__(self) -> None:
        self.is_given = False
        self.is_leaving = False  #: whether the participant's code is to be told
        self.descriptor = -1  #: readable when a signal has come
        self._writer = -1

    def __enter__(self) -> StopSignal:
        """Begin to notice."""
        self.descriptor, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.signal(signal.SIGTERM, self._note)
        signal.signal(signal.SIGUSR1, self._note)
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        trace: Optional[TracebackType],
    ) -> None:
        """Go back to dying of it, unless it has come."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN if self.is_given else signal.SIG_DFL)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN if self.is_leaving else signal.SIG_DFL)
        os.close(self.descriptor)
        os.close(self._writer)

    def _note(self, number: int, _frame: Optional[FrameType]) -> None:
        if number == signal.SIGUSR1:
            self.is_leaving = True
        else:
            self.is_given = True
        with contextlib.suppress(BlockingIOError):  # as many have come before
            os.write(self._writer, b"s")

    def hear(self) -> None:
        """Take note of what has come; the descriptor is readable again at the next signal."""
        os.read(self.descriptor, 1)


def forget() -> None:
    """Die of them again; for a process that was forked within the block."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_DFL)


class StoppedError(Exception):
    """The run was ended on request.

    Parameters
    ----------
    results : list of dict
        Of the folds until then, the last of which was cut short; as of `fold.run_folds`.
    """

    def __init__(self, results: list[dict[str, Any]]) -> None:
        self.results = results
        super().__init__("the run was ended on request")
