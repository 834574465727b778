"""Scoring before the end costs a bounded share of the time, and harms nobody."""

from __future__ import annotations

import threading

import pytest

from ramp_engine.errors import EvaluationError
from ramp_engine.partial_scoring import (
    FIRST_GUESS_SECONDS,
    MAX_SHARE,
    MIN_LEFT_SECONDS,
    PartialScoring,
)

#: Longer than anything here takes, in seconds.
PATIENCE = 30.0


class Bench:
    """A clock that a test moves, and what was scored; scoring takes a second of it."""

    def __init__(self, error: Exception | None = None, n_kept: int = 0) -> None:
        self.now = 0.0
        self.error = error
        self.scored: list[list[int]] = []
        self.scoring = PartialScoring(self.score, {}, n_kept, lambda: self.now)

    def score(self, folds: list[int], _: threading.Event) -> None:
        self.scored.append(folds)
        self.now += 1.0
        if self.error is not None:
            raise self.error

    def offer(self, *folds: int, n_missing: int = 6) -> None:
        self.scoring.offer(folds, n_missing)
        self.scoring.join(PATIENCE)


def test_a_short_run_is_not_scored_before_its_end() -> None:
    bench = Bench()
    bench.now = 0.9 * FIRST_GUESS_SECONDS / MAX_SHARE
    bench.offer(0)
    assert bench.scored == []


def test_it_is_scored_again_when_that_takes_a_small_share_of_the_time() -> None:
    bench = Bench()
    bench.now = 10.0
    bench.offer(1)
    bench.offer(1, 0)  # at once: too soon
    bench.now += 0.99 / MAX_SHARE
    bench.offer(1, 0)
    assert bench.scored == [[1]]
    bench.now += 0.02 / MAX_SHARE
    bench.offer(1, 0)
    bench.now += 100.0
    bench.offer(1, 0)  # nothing new
    assert bench.scored == [[1], [0, 1]]


def test_folds_are_not_scored_when_the_others_are_soon_done_too() -> None:
    bench = Bench()
    seconds_each = bench.now = 0.6 * MIN_LEFT_SECONDS
    for n_done in range(1, 8):
        bench.now = n_done * seconds_each
        bench.offer(*range(n_done), n_missing=1)
    assert bench.scored == []
    bench.offer(*range(7), n_missing=2)
    assert bench.scored == [list(range(7))]


def test_what_takes_longer_than_folds_before_is_expected_to_take_longer_still() -> None:
    bench = Bench()
    bench.now = 0.99 * MIN_LEFT_SECONDS * 4
    bench.offer(0, 1, 2, 3, n_missing=1)
    assert bench.scored == []
    bench.now = 1.01 * MIN_LEFT_SECONDS * 4
    bench.offer(0, 1, 2, 3, n_missing=1)
    assert bench.scored == [[0, 1, 2, 3]]


def test_folds_that_another_attempt_has_done_do_not_tell_how_fast_this_one_is() -> None:
    bench = Bench(n_kept=3)
    bench.now = 1.5 * MIN_LEFT_SECONDS
    bench.offer(0, 1, 2, 3, n_missing=1)
    assert bench.scored == [[0, 1, 2, 3]]


@pytest.mark.parametrize("error", [EvaluationError("score", "planted"), RuntimeError("planted")])
def test_a_failure_is_logged_and_not_repeated(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(error)
    bench.now = 10.0
    bench.offer(0)
    bench.now = 1000.0
    bench.offer(0)
    assert bench.scored == [[0]]
    assert "planted" in caplog.text


def test_nothing_is_scored_after_the_end() -> None:
    bench = Bench()
    bench.now = 10.0
    bench.scoring.stop()
    bench.offer(0)
    assert bench.scored == []
