"""How a job of the Dask engine comes to its one end, in whatever order things come."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from ramp_engine.remote.dask.jobs import JobBook
from ramp_engine.remote.engine import Demands, EngineEvent, Job, JobEnded, JobLost, JobSaid, Loss
from ramp_engine.remote.frames import Frame

HERE, THERE = ("node", "tcp://node:1"), ("other", "tcp://other:1")
JOB = Job("a", Frame({"job": "a"}), Demands())
ANSWER = Frame({"how": "done"})


def ends(events: list[EngineEvent]) -> list[EngineEvent]:
    return [event for event in events if isinstance(event, JobEnded | JobLost)]


STEPS: dict[str, Callable[[JobBook], object]] = {
    "begin": lambda book: book.begin("a", *HERE),
    "begin elsewhere": lambda book: book.begin("a", *THERE),
    "end": lambda book: book.end("a", "node", ANSWER),
    "lose": lambda book: book.lose("a", Loss.NODE, "killed"),
    "withdraw": lambda book: book.withdraw(["a"]),
    "withdrawn": lambda book: [
        book.lose(name, Loss.RECLAIMED, "ended") for name in book.withdrawn(["a"])
    ],
}


@pytest.mark.parametrize("order", list(itertools.permutations(STEPS)))
def test_a_job_ends_at_most_once_in_whatever_order_things_come(order: tuple[str, ...]) -> None:
    events: list[EngineEvent] = []
    book = JobBook(events.append)
    book.add(JOB, 0.0)

    for step in order:
        was_over = "a" not in book
        n_before = len(events)
        STEPS[step](book)
        assert not (was_over and len(events) > n_before)

    assert len(ends(events)) == 1
    assert "a" not in book


def test_what_began_as_it_was_withdrawn_has_to_be_ended_and_its_answer_does_not_count() -> None:
    events: list[EngineEvent] = []
    book = JobBook(events.append)
    book.add(JOB, 0.0)

    assert book.withdraw(["a"]) == ["a"]
    assert book.begin("a", *HERE)
    assert not book.end("a", "node", ANSWER)
    assert book.withdrawn(["a"]) == ["a"]
    assert events == []


def test_a_second_begin_elsewhere_is_refused_also_after_the_end() -> None:
    book = JobBook(list[EngineEvent]().append)
    book.add(JOB, 0.0)

    assert book.begin("a", *HERE)
    assert not book.begin("a", *THERE)
    book.lose("a", Loss.NODE, "killed")
    assert not book.begin("a", *HERE)


def test_pieces_of_a_frame_are_put_together_and_those_from_elsewhere_are_not() -> None:
    events: list[EngineEvent] = []
    book = JobBook(events.append)
    book.add(JOB, 0.0)
    book.begin("a", *HERE)

    book.say("a", "node", b"one ", None)
    book.say("a", "other", b"no ", {"said": "log"})
    book.say("a", "node", b"two", {"said": "log"})

    assert events == [JobSaid("a", "node", Frame({"said": "log"}, b"one two"))]
