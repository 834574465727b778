"""Tables on stdout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ramp_engine.cli import options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: set[int]) -> None:
    """Print a table.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence of str
        A cell a column.
    right : set of int
        Columns, from 0, whose cells stand at the right.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        table.add_column(
            Text(column), justify="right" if index in right else "left", overflow="fold"
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    options.console().print(table)


def number(value: float | None, digits: int) -> str:
    """Write a number with so many digits after the point, or ``-`` where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"
