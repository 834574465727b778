"""Waking a thread that waits, from other threads and from signal handlers."""

from __future__ import annotations

import contextlib
import os
import select

__all__ = ["Bell"]


class Bell:
    """What one thread waits for and others ring.

    Notes
    -----
    An `threading.Event` is nothing for a signal handler: it runs in the thread that waits, perhaps
    while that thread holds the event's lock, and would wait for it for ever. Here a ring is
    one write into a descriptor, and it is not lost when nobody waits yet.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def __del__(self) -> None:
        # whoever can still ring holds a reference: the number never is that of another file
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._fd)

    def ring(self) -> None:
        """End the wait, or the next one when nobody waits; any number of rings counts as one."""
        os.eventfd_write(self._fd, 1)

    def wait(self, timeout_seconds: float, fd: int | None = None) -> bool:
        """Wait until it is rung, but no longer than `timeout_seconds`.

        Parameters
        ----------
        timeout_seconds : float
            0 and less: only look.
        fd : int, optional
            A descriptor; the wait also ends when something can be read there.

        Returns
        -------
        bool
            Whether it was rung.
        """
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        if fd is not None:
            poll.register(fd, select.POLLIN)
        poll.poll(max(timeout_seconds, 0.0) * 1000)
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            return False
        return True
