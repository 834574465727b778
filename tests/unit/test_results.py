"""Reading results, and the numbers of leaderboards."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ramp_database.errors import DatabaseError
from ramp_database.numbers import finite, mean_and_std
from ramp_database.ranking import NO_SCORE, order_of
from ramp_database.results import (
    BaggedScores,
    FoldResult,
    Results,
    StepScores,
    StepTimes,
)

TOLD: dict[str, Any] = {
    "folds": [
        {
            "fold": 0,
            "scores": {"acc": {"train": 1, "valid": 0.5, "test": None}},
            "times": {"train": 1.5, "valid": 0.25, "test": 0.125},
        }
    ],
    "bagged": {"acc": {"valid": 0.5, "test": math.nan}},
}


def test_results_are_read_as_the_score_step_tells_them() -> None:
    assert Results.from_json(TOLD) == Results(
        (FoldResult(0, {"acc": StepScores(1.0, 0.5, None)}, StepTimes(1.5, 0.25, 0.125)),),
        {"acc": BaggedScores(0.5, None)},
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"folds": [], "bagged": []},
        TOLD | {"bagged": {"acc": {"test": 1.0}}},
        TOLD | {"bagged": {"acc": {"valid": "high"}}},
        TOLD | {"folds": [{"fold": "x", "scores": {}}]},
        TOLD | {"folds": [None]},
    ],
)
def test_malformed_results_are_told_as_such(wrong: dict[str, Any]) -> None:
    with pytest.raises(DatabaseError, match="malformed"):
        Results.from_json(wrong)


def test_only_finite_numbers_are_numbers() -> None:
    assert finite(1) == 1.0
    assert [finite(value) for value in (None, math.nan, math.inf, -math.inf)] == [None] * 4


def test_the_deviation_over_folds_is_that_of_a_sample() -> None:
    assert mean_and_std([1.0, 2.0, 4.0]) == (pytest.approx(7 / 3), pytest.approx(math.sqrt(7 / 3)))
    assert mean_and_std([0.5]) == (0.5, 0.0)
    assert mean_and_std([1.0, None]) == (None, None)
    assert mean_and_std([]) == (None, None)
    assert mean_and_std([1e308, -1e308, 1e308, -1e308])[1] != math.inf


def test_the_lower_comes_first_in_every_order() -> None:
    assert order_of(0.5, is_lower_the_better=True) < order_of(0.75, is_lower_the_better=True)
    assert order_of(0.75, is_lower_the_better=False) < order_of(0.5, is_lower_the_better=False)
    for is_lower in (True, False):
        assert order_of(None, is_lower_the_better=is_lower) == NO_SCORE
