"""Scores are compared exactly but for rounding, by name, from rows and from files."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from ramp_engine.cli.verify import exit_code
from ramp_engine.comparison import MISSING, Cell, Difference, differences, read_score_files
from ramp_engine.verification import N_TOLD, Finding, Verification, tell

SCORES = """step,acc,nll,time
train,0.96,0.5,1.25
valid,0.9,inf,0.5
test,,0.75,0.25
"""
BAGGED = """step,n_bag,acc,nll
valid,0,0.9,0.5
valid,1,0.95,0.25
"""


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        (0.1 + 0.2, 0.3),
        (1e300, 1e300 * (1 + 1e-13)),
        (None, None),
        (None, math.nan),
        (math.nan, math.nan),
        (math.inf, math.inf),
        (0.0, -0.0),
        ("odd", "odd"),
    ],
)
def test_what_differs_by_rounding_only_is_equal(recorded: Cell, now: Cell) -> None:
    assert differences({"acc": recorded}, {"acc": now}) == ()


@pytest.mark.parametrize(
    ("recorded", "now"),
    [
        (0.9, 0.9 * (1 + 1e-11)),
        (0.0, 1e-300),
        (None, 0.0),
        (math.nan, 0.5),
        (math.inf, -math.inf),
        (0.5, "0.5 and more"),
    ],
)
def test_anything_more_is_a_difference(recorded: Cell, now: Cell) -> None:
    (found,) = differences({"acc": recorded}, {"acc": now})
    assert found.what == "acc"


def test_what_only_one_side_has_is_a_difference() -> None:
    found = differences({"fold 1 acc": 0.5}, {"fold 2 acc": 0.25})
    assert found == (
        Difference("fold 1 acc", 0.5, MISSING),
        Difference("fold 2 acc", MISSING, 0.25),
    )
    assert str(found[0]) == "fold 1 acc: recorded 0.5, now missing"


def test_files_of_scores_are_read_without_their_times(tmp_path: Path) -> None:
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "scores.csv").write_text(SCORES)
    (tmp_path / "bagged_scores.csv").write_text(BAGGED)
    assert read_score_files(tmp_path, ["acc", "nll"]) == {
        "fold_0/scores.csv train acc": 0.96,
        "fold_0/scores.csv train nll": 0.5,
        "fold_0/scores.csv valid acc": 0.9,
        "fold_0/scores.csv valid nll": math.inf,
        "fold_0/scores.csv test acc": None,
        "fold_0/scores.csv test nll": 0.75,
        "bagged_scores.csv valid 0 acc": 0.9,
        "bagged_scores.csv valid 0 nll": 0.5,
        "bagged_scores.csv valid 1 acc": 0.95,
        "bagged_scores.csv valid 1 nll": 0.25,
    }


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\0", b"step\n", b'"' + b"x" * 200_000])
def test_a_file_of_scores_that_is_none_gives_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bagged_scores.csv").write_bytes(content)
    assert read_score_files(tmp_path, ["acc"]) == {}


def test_no_link_to_a_file_of_scores_is_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(BAGGED)
    (tmp_path / "bagged_scores.csv").symlink_to(tmp_path / "elsewhere")
    assert read_score_files(tmp_path, ["acc"]) == {}


def test_a_line_tells_the_first_differences_and_counts_the_others() -> None:
    found = tuple(Difference(f"fold {n} acc test", 0.5, 0.25) for n in range(N_TOLD + 2))
    line = tell(Verification(7, Finding.DIFFERENT, differences=found))
    assert line.startswith("submission 7: differs: fold 0 acc test: recorded 0.5, now 0.25; ")
    assert line.endswith("; and 2 more")
    assert f"fold {N_TOLD - 1} acc" in line
    assert f"fold {N_TOLD} acc" not in line


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ((), 0),
        ((Finding.VERIFIED, Finding.VERIFIED), 0),
        ((Finding.VERIFIED, Finding.UNVERIFIABLE), 3),
        ((Finding.UNVERIFIABLE,), 1),
        ((Finding.DIFFERENT,), 1),
        ((Finding.VERIFIED, Finding.UNVERIFIABLE, Finding.DIFFERENT), 1),
    ],
)
def test_the_exit_code_tells_what_was_found(findings: tuple[Finding, ...], code: int) -> None:
    assert exit_code(findings) == code
