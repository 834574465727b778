"""A dispatcher's proof of life."""

from __future__ import annotations

import threading

from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.heartbeat import Heartbeat


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def make(beat: object, clock: Clock, on_lost: object = lambda: None) -> Heartbeat:
    return Heartbeat(
        beat,  # type: ignore[arg-type]
        seconds=0.001,
        stalled_after_seconds=30.0,
        on_lost=on_lost,  # type: ignore[arg-type]
        clock=clock,
    )


def test_it_beats_from_its_own_thread_until_the_end() -> None:
    beaten = threading.Event()
    beats: list[str] = []

    def beat() -> bool:
        beats.append(threading.current_thread().name)
        beaten.set()
        return True

    with make(beat, Clock()):
        assert beaten.wait(60)
    n_beats = len(beats)
    assert set(beats) == {"heartbeat"}
    assert "heartbeat" not in {thread.name for thread in threading.enumerate()}
    assert len(beats) == n_beats


def test_a_loop_that_has_stalled_stops_the_heart_until_it_turns_again() -> None:
    clock = Clock()
    beats: list[float] = []
    heart = make(lambda: bool(beats.append(clock.now)) or True, clock)
    assert heart.pulse()
    clock.now += 31
    assert heart.is_stalled
    assert heart.pulse()
    assert beats == [100.0]
    heart.turned()
    assert heart.pulse()
    assert beats == [100.0, 131.0]


def test_a_database_that_is_away_is_no_reason_to_die() -> None:
    def beat() -> bool:
        raise DatabaseUnavailableError("postgresql://somewhere", "connection refused")

    assert make(beat, Clock()).pulse()


def test_a_dispatcher_that_was_declared_dead_is_told_and_the_heart_beats_on() -> None:
    """It registers anew, and beats for its new number."""
    alive_again = threading.Event()
    answers = iter([False, True])

    def beat() -> bool:
        answer = next(answers, True)
        if calls and answer:
            alive_again.set()
        return answer

    calls: list[int] = []
    with make(beat, Clock(), lambda: calls.append(1)):
        assert alive_again.wait(60)
    assert calls == [1]
