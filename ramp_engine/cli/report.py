"""The scores of one submission as a table."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli.table import number, print_table

if TYPE_CHECKING:
    from ramp_database.results import Results
    from ramp_engine.alone import Report


def print_report(report: Report) -> None:
    """Print the scores of each fold and the bagged ones, or why there are none."""
    if report.results is None:
        state = report.verdict.state or report.verdict.outcome
        click.echo(f"{report.submission}: {state}")
        click.echo((report.verdict.error or "").strip())
        return
    columns = ["", "step", *(kind["name"] for kind in report.score_types)]
    rows = list(_rows(report.results, report.score_types))
    print_table(columns, rows, right=set(range(2, len(columns))))


def _rows(results: Results, kinds: tuple[dict[str, Any], ...]) -> Iterator[list[str]]:
    for fold in results.folds:
        for step in ("train", "valid", "test"):
            values = [getattr(fold.scores[kind["name"]], step) for kind in kinds]
            title = f"fold {fold.fold}" if step == "train" else ""
            yield [title, step, *_numbers(values, kinds)]
    for step in ("valid", "test"):
        values = [getattr(results.bagged[kind["name"]], step) for kind in kinds]
        yield ["bagged" if step == "valid" else "", step, *_numbers(values, kinds)]


def _numbers(values: list[float | None], kinds: tuple[dict[str, Any], ...]) -> list[str]:
    return [number(value, kind["precision"]) for value, kind in zip(values, kinds, strict=True)]
