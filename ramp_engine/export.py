"""Leaderboards as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ramp_database.leaderboard import LeaderboardRow


def write_leaderboard(rows: Sequence[LeaderboardRow], stem: Path) -> list[Path]:
    """Write a leaderboard as JSON and as CSV, with full precision.

    Parameters
    ----------
    rows : sequence of LeaderboardRow
        In the order of the ranks.
    stem : Path
        The path of the files without their suffixes; its folder is made when missing.

    Returns
    -------
    list of Path
        ``<stem>.json`` and ``<stem>.csv``. A column of the CSV file is named as in the JSON, with
        dots between the levels, such as ``scores.accuracy.bag``.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    as_json, as_csv = stem.with_suffix(".json"), stem.with_suffix(".csv")
    records = [row.to_json() for row in rows]
    as_json.write_text(json.dumps(records, indent=2) + "\n", encoding="utf-8")
    flat = [_flat(record) for record in records]
    fields = list(dict.fromkeys(name for row in flat for name in row)) or ["rank"]
    with as_csv.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=fields)
        writer.writeheader()
        writer.writerows(flat)
    return [as_json, as_csv]


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found
