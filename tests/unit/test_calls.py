"""A call either returns or is given up, never both."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from ramp_engine.calls import Call, Calls, GivenUp
from ramp_engine.testing import ManualClock


class Caller:
    """A thread that makes one call, which lasts until the test lets it go."""

    def __init__(self, calls: Calls, end: Callable[[], object]) -> None:
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.ending: object = None
        self._calls, self._end = calls, end
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        assert self.begun.wait(30)

    def _run(self) -> None:
        try:
            self.ending = self._calls("setup", self._call)
        except BaseException as error:  # noqa: BLE001
            self.ending = error

    def _call(self) -> object:
        self.begun.set()
        self.let_go.wait(30)
        return self._end()

    def finish(self) -> object:
        self.let_go.set()
        self.thread.join(30)
        return self.ending


def fail() -> object:
    raise OSError("late")


def test_a_call_gives_its_answer_and_is_seen_meanwhile() -> None:
    calls = Calls(ManualClock(7.0))
    caller = Caller(calls, lambda: "answer")
    assert calls.current == Call("setup", 7.0)
    assert caller.finish() == "answer"
    assert calls.current is None


@pytest.mark.parametrize("end", [lambda: "answer", fail])
def test_a_call_that_was_given_up_brings_nothing(end: Callable[[], object]) -> None:
    calls = Calls()
    caller = Caller(calls, end)
    call = calls.current
    assert call is not None
    assert calls.give_up(call)
    assert isinstance(caller.finish(), GivenUp)


def test_a_call_is_given_up_once_and_is_not_seen_any_more() -> None:
    """Or the dispatcher would see it as hung for as long as its verdict waits to be recorded."""
    calls = Calls()
    caller = Caller(calls, lambda: None)
    call = calls.current
    assert call is not None
    assert calls.give_up(call)
    assert calls.current is None
    assert not calls.give_up(call)
    caller.finish()


def test_a_call_that_has_returned_is_not_given_up() -> None:
    calls = Calls()
    caller = Caller(calls, lambda: "answer")
    call = calls.current
    caller.finish()
    assert call is not None
    assert not calls.give_up(call)
    assert calls("status", lambda: 3) == 3


def test_whatever_the_thread_calls_afterwards_brings_nothing_either() -> None:
    calls = Calls()
    caller = Caller(calls, lambda: None)
    assert calls.current is not None
    calls.give_up(calls.current)
    caller.finish()
    torn_down = []
    with pytest.raises(GivenUp):
        calls("teardown", lambda: torn_down.append(True))
    assert torn_down == [True], "a worker that came back is torn down all the same"


def test_the_error_of_a_call_goes_to_its_caller() -> None:
    with pytest.raises(OSError, match="late"):
        Calls()("setup", fail)
