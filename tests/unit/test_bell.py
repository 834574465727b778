"""A bell is heard by who waits, from wherever it is rung."""

from __future__ import annotations

import os
import signal
import threading

from ramp_database.bell import Bell


def test_rings_before_a_wait_are_heard_once() -> None:
    bell = Bell()
    assert not bell.wait(0)
    bell.ring()
    bell.ring()
    assert bell.wait(60)
    assert not bell.wait(0)


def test_another_thread_ends_a_wait() -> None:
    bell = Bell()
    thread = threading.Thread(target=bell.ring)
    thread.start()
    assert bell.wait(60)
    thread.join()


def test_a_signal_handler_ends_the_wait_of_its_own_thread() -> None:
    bell = Bell()
    before = signal.signal(signal.SIGUSR1, lambda _number, _frame: bell.ring())
    try:
        thread = threading.Thread(target=os.kill, args=(os.getpid(), signal.SIGUSR1))
        thread.start()
        assert bell.wait(60)
        thread.join()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_something_to_read_ends_a_wait_too() -> None:
    bell = Bell()
    reader, writer = os.pipe()
    try:
        os.write(writer, b"news")
        assert not bell.wait(60, reader)
    finally:
        os.close(reader)
        os.close(writer)
