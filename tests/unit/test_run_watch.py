"""What a run on an instance becomes by what the instance answers, or does not."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from ramp_engine.aws.answers import Report
from ramp_engine.aws.run_watch import MAX_LOG_BYTES, RunWatch
from ramp_engine.errors import (
    ConnectionLostError,
    HostKeyError,
    RampError,
    SandboxError,
    TransportError,
)
from ramp_engine.testing import ManualClock

RUNNING = Report("running", log=b"ab", done=(0,))
LOST = ConnectionLostError("h: no answer for 30 s")


class Answers:
    """An instance that answers as it is told, the last answer again and again."""

    def __init__(self, *answers: Report | RampError) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[int | None, list[int]]] = []
        self.state = "running"

    def status(self, run: str, log_offset: int | None, done: Collection[int]) -> Report:
        self.asked.append((log_offset, sorted(done)))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, RampError):
            raise answer
        return answer


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def watched(answers: Answers, clock: ManualClock, log: Path) -> RunWatch:
    state = lambda: answers.state  # noqa: E731
    return RunWatch(answers, "r", log, state, seconds=1.0, patience_seconds=60.0, clock=clock)


def look(watch: RunWatch, clock: ManualClock, times: int = 1, seconds: float = 31.0) -> None:
    """Look so often, each time when it is due."""
    for _ in range(times):
        watch.look()
        clock.advance(seconds)


def test_it_asks_once_a_turn_for_what_is_new(clock: ManualClock, tmp_path: Path) -> None:
    answers = Answers(RUNNING)
    watch = watched(answers, clock, tmp_path / "log")
    for _ in range(3):
        watch.look()
    assert answers.asked == [(0, [])]
    clock.advance(1.0)
    watch.look()
    assert answers.asked[1:] == [(2, [0])]
    assert (tmp_path / "log").read_bytes() == b"abab"
    assert not watch.is_over


def test_silence_within_patience_is_nothing_and_beyond_it_the_run_is_lost(
    clock: ManualClock, tmp_path: Path
) -> None:
    answers = Answers(LOST, LOST, RUNNING, LOST)
    watch = watched(answers, clock, tmp_path / "log")
    look(watch, clock, 2)
    assert not watch.is_reachable
    assert not watch.is_over
    look(watch, clock)
    assert watch.is_reachable
    assert watch.is_well
    look(watch, clock, 2)
    assert not watch.is_over  # the patience began anew
    look(watch, clock)
    assert watch.loss.startswith("the instance has not answered for 62 s: h: no answer")
    assert not watch.is_well
    n_asked = len(answers.asked)
    look(watch, clock)
    assert len(answers.asked) == n_asked


def test_an_instance_that_does_not_answer_is_asked_ever_less_often(
    clock: ManualClock, tmp_path: Path
) -> None:
    answers = Answers(LOST)
    watch = watched(answers, clock, tmp_path / "log")
    look(watch, clock, 31, seconds=1.0)
    assert len(answers.asked) == 5  # at 0, 1, 3, 7 and 15 s


@pytest.mark.parametrize(
    "error",
    [HostKeyError("h", "ssh-rsa SHA256:a", ["ssh-rsa SHA256:b"]), SandboxError("it refuses")],
)
def test_what_no_patience_mends_is_a_loss_at_once(
    clock: ManualClock, tmp_path: Path, error: RampError
) -> None:
    watch = watched(Answers(error), clock, tmp_path / "log")
    watch.look()
    assert watch.loss == str(error)


@pytest.mark.parametrize("answer", [LOST, TransportError("no answer (code 143)"), RUNNING])
def test_a_run_whose_instance_is_taken_away_is_interrupted_however_it_shows(
    clock: ManualClock, tmp_path: Path, answer: Report | RampError
) -> None:
    answers = Answers(answer)
    watch = watched(answers, clock, tmp_path / "log")
    look(watch, clock)
    answers.state = "shutting-down"
    look(watch, clock)
    assert watch.interruption == "the instance is gone: EC2 calls it shutting-down"
    assert not watch.loss
    assert not watch.is_reachable


def test_an_instance_under_notice_serves_nobody_after_its_run(
    clock: ManualClock, tmp_path: Path
) -> None:
    ended = Report("ended", returncode=0, notice="terminate at noon")
    watch = watched(Answers(ended), clock, tmp_path / "log")
    watch.look()
    assert (watch.returncode, watch.interruption) == (0, "")
    assert watch.is_reachable
    assert not watch.is_well


def test_a_notice_ends_a_run_in_the_middle(clock: ManualClock, tmp_path: Path) -> None:
    watch = watched(Answers(replace(RUNNING, notice="terminate at noon")), clock, tmp_path / "log")
    watch.look()
    assert watch.interruption == "the spot instance is taken away: terminate at noon"
    assert watch.done == {0}
    assert watch.is_reachable  # what is done can be fetched


@pytest.mark.parametrize(
    ("report", "loss"),
    [
        (Report("unknown"), "knows nothing of the run"),
        (Report("ended", 137, "SIGKILL", "its keeper was killed"), "its keeper was killed"),
    ],
)
def test_a_run_that_did_not_end_by_itself_is_lost(
    clock: ManualClock, tmp_path: Path, report: Report, loss: str
) -> None:
    watch = watched(Answers(report), clock, tmp_path / "log")
    watch.look()
    assert loss in watch.loss
    assert watch.returncode is None


def test_no_more_is_taken_of_a_log_than_there_is_room_for(
    clock: ManualClock, tmp_path: Path
) -> None:
    piece = bytes(MAX_LOG_BYTES // 4 + 1)
    answers = Answers(replace(RUNNING, log=piece))
    watch = watched(answers, clock, tmp_path / "log")
    look(watch, clock, 6, seconds=1.0)
    assert (tmp_path / "log").stat().st_size == MAX_LOG_BYTES
    assert [offset for offset, _ in answers.asked[-2:]] == [None, None]  # nothing comes for nothing


def test_a_log_that_cannot_be_written_here_loses_no_run(clock: ManualClock, tmp_path: Path) -> None:
    watch = watched(Answers(RUNNING), clock, tmp_path / "missing" / "log")
    watch.look()
    assert watch.done == {0}
    assert not watch.is_over
