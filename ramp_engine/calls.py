"""The calls into a plugin that one thread makes: how long one lasts, and giving it up.

Code of a plugin may hang. Nobody can end a thread, so the call is given up: whoever watches takes
the thread's work over, and when the call returns after all, the thread goes no further.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import NamedTuple, TypeVar

__all__ = ["Call", "Calls", "GivenUp"]

T = TypeVar("T")


class Call(NamedTuple):
    """A call that is under way."""

    name: str  #: of the plugin's method
    started_at: float  #: by the monotonic clock, in seconds


class GivenUp(BaseException):
    """The call that has returned was given up: somebody else has the thread's work by now.

    No `Exception`: nothing that handles the errors of a plugin shall take it for one.
    """


class Calls:
    """Watch the calls of one thread.

    Parameters
    ----------
    clock : callable
        Monotonic seconds; tests move it.

    Notes
    -----
    A call is either given up or it returns, never both: after `give_up` has said yes, the thread
    that made it gets `GivenUp` in place of the answer.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Call | None = None
        self._is_given_up = False

    def __call__(self, name: str, call: Callable[[], T]) -> T:
        """Make a call.

        Parameters
        ----------
        name : str
            For messages.
        call : callable

        Raises
        ------
        GivenUp
            It returned, or raised an error, after it was given up.
        """
        with self._lock:
            self._current = Call(name, self._clock())
        try:
            answer = call()
        except BaseException:
            self._end()
            raise
        self._end()
        return answer

    def _end(self) -> None:
        with self._lock:
            self._current = None
            if self._is_given_up:
                raise GivenUp

    @property
    def current(self) -> Call | None:
        """The call that is under way; None as well when it was given up."""
        return None if self._is_given_up else self._current

    def give_up(self, call: Call) -> bool:
        """Give up a call, unless it has returned.

        Returns
        -------
        bool
            Whether the thread's work is the caller's by now.
        """
        with self._lock:
            if self._current is not call or self._is_given_up:
                return False
            self._is_given_up = True
            return True
