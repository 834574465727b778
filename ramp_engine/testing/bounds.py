"""An end to calls that hang, without another thread making them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

__all__ = ["returning_within"]


@contextmanager
def returning_within(seconds: float, what: str) -> Iterator[None]:
    """Fail the test when the block takes longer; its traceback shows what hung.

    A worker is driven by one thread, so that of the test makes its calls, and a signal (SIGUSR2)
    gets it out of one that waits. In any other thread than the main one nothing is bounded.

    Parameters
    ----------
    seconds : float
    what : str
        What is to be told of it, before "has not returned".
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    has_ended = threading.Event()

    def ring(*_: object) -> None:
        if not has_ended.is_set():
            pytest.fail(f"{what} has not returned after {seconds:g} s: see where it waits")

    def watch() -> None:
        while not has_ended.wait(seconds):  # again and again: the first may have been swallowed
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR2)

    before = signal.signal(signal.SIGUSR2, ring)
    watching = threading.Thread(target=watch, name="conformance-bound", daemon=True)
    watching.start()
    try:
        yield
    finally:
        has_ended.set()
        watching.join()
        signal.signal(signal.SIGUSR2, before or signal.SIG_DFL)
