"""Leaderboards as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ramp_database.leaderboard import LeaderboardRow

#: With these a spreadsheet takes a cell for a formula (some also with the full-width forms).
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", *"\uff1d\uff0b\uff0d\uff20")


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
        dots between the levels, such as ``scores.accuracy.bag``; a text in it that a spreadsheet
        would take for a formula begins with a ``'``, see `inert`.
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
        writer.writerows({name: inert(value) for name, value in row.items()} for row in flat)
    return [as_json, as_csv]


def inert(value: Any) -> Any:
    """Make a cell of a CSV file safe to open in a spreadsheet: names are chosen by participants.

    Parameters
    ----------
    value : object

    Returns
    -------
    object
        A text that begins like a formula gets a ``'`` before it; numbers, also as texts, and
        everything else stay.

    References
    ----------
    OWASP, CSV Injection: https://owasp.org/www-community/attacks/CSV_Injection
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA_STARTS) or _is_number(value):
        return value
    return f"'{value}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _flat(record: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in record.items():
        found |= (
            _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
        )
    return found
