"""Scores held against others: those of the database, or of the files beside predictions."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from ramp_engine.evaluation.untrusted_files import read_text

__all__ = ["MISSING", "Cell", "Difference", "differences", "read_score_files"]

#: A score, None for none, or text that should have been a score.
Cell = float | str | None

#: Stands for a score of which one side knows nothing.
MISSING = "missing"
#: Numbers that differ by less, relative to the larger one, are equal.
TOLERANCE = 1e-12
#: A larger file of scores is not read, in bytes.
MAX_SCORES_BYTES = 16 << 20

_TIME = "time"


@dataclass(frozen=True)
class Difference:
    """A score that is another than the recorded one."""

    what: str  #: such as ``fold 0 acc test``
    recorded: Cell
    now: Cell

    def __str__(self) -> str:
        """Tell it in words."""
        return f"{self.what}: recorded {_shown(self.recorded)}, now {_shown(self.now)}"


def differences(recorded: Mapping[str, Cell], now: Mapping[str, Cell]) -> tuple[Difference, ...]:
    """Compare scores by their names.

    Parameters
    ----------
    recorded, now : mapping
        One may have names that the other has not. None and NaN are equal.

    Returns
    -------
    tuple of Difference
        In the order of `recorded`, then what only `now` has.
    """
    names = dict.fromkeys([*recorded, *now])
    pairs = ((name, recorded.get(name, MISSING), now.get(name, MISSING)) for name in names)
    return tuple(Difference(*pair) for pair in pairs if not _is_equal(*pair[1:]))


def _is_equal(one: Cell, other: Cell) -> bool:
    one, other = _none_for_nan(one), _none_for_nan(other)
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=TOLERANCE)
    return one == other


def _none_for_nan(value: Cell) -> Cell:
    return None if isinstance(value, float) and math.isnan(value) else value


def _shown(value: Cell) -> str:
    return "none" if value is None else str(value)


def read_score_files(directory: Path, names: Collection[str]) -> dict[str, Cell]:
    """Read ``bagged_scores.csv`` and the ``scores.csv`` of each fold.

    Parameters
    ----------
    directory : Path
        What ``ramp-test --save-output`` would have written.
    names : collection of str
        The score types; other columns tell which row it is, but for the times.

    Returns
    -------
    dict
        From such as ``fold_0/scores.csv valid acc`` to the score. A file that cannot be read
        gives nothing.
    """
    paths = [*sorted(directory.glob("fold_*/scores.csv")), directory / "bagged_scores.csv"]
    found: dict[str, Cell] = {}
    for path in paths:
        title = str(path.relative_to(directory))
        found |= {f"{title} {what}": value for what, value in _cells(path, names)}
    return found


def _cells(path: Path, names: Collection[str]) -> Iterator[tuple[str, Cell]]:
    for row in _rows(path):
        which = " ".join(row[key] for key in row if key not in names and key != _TIME)
        yield from ((f"{which} {name}", _cell(row[name])) for name in names if name in row)


def _rows(path: Path) -> list[dict[str, str]]:
    text = read_text(path.parent, path.name, MAX_SCORES_BYTES)
    try:
        header, *rows = csv.reader(io.StringIO(text))
    except (csv.Error, ValueError):  # no table, or an empty one
        return []
    return [dict(zip(header, row, strict=False)) for row in rows]


def _cell(text: str) -> Cell:
    try:
        return _none_for_nan(float(text or "nan"))
    except ValueError:
        return text
