"""What a terminal shows while submissions are evaluated."""

from __future__ import annotations

import time
from contextlib import suppress
from types import TracebackType
from typing import Protocol, Self

import click
from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from ramp_engine.cli.options import visible
from ramp_engine.outcome import Outcome
from ramp_engine.run import Run


class _Dispatcher(Protocol):
    n_open: int


class Display:
    """Print a line for each run that has ended; the base of the live display.

    Parameters
    ----------
    event_name : str
    """

    def __init__(self, event_name: str) -> None:
        self._event_name = event_name
        self._n_done = 0
        self._runs: list[Run] = []
        self._dispatcher: _Dispatcher | None = None

    def __enter__(self) -> Self:
        """Start to show."""
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the terminal as it should be."""

    def watch(self, dispatcher: _Dispatcher) -> None:
        """Show the numbers of this dispatcher."""
        self._dispatcher = dispatcher

    def run_started(self, run: Run) -> None:
        """Show one more run."""
        self._runs.append(run)

    def run_ended(self, run: Run) -> None:
        """Print how the run ended."""
        self._runs.remove(run)
        self._n_done += 1
        self._print(ending(run))

    def _print(self, line: Text) -> None:
        with suppress(OSError, ValueError):  # nobody may be able to read it
            click.echo(line.plain, err=True)


class LiveDisplay(Display):
    """Show the runs under way below the lines of those that have ended."""

    def __init__(self, event_name: str, console: Console) -> None:
        super().__init__(event_name)
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=8, transient=True
        )

    def __enter__(self) -> Self:
        """Start to draw."""
        self._live.__enter__()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop to draw, and remove what was drawn."""
        self._live.__exit__(exc_type, exc, traceback)

    def _print(self, line: Text) -> None:
        self._live.console.print(line)

    def _render(self) -> Group:
        n_open = self._dispatcher.n_open if self._dispatcher else 0
        n_waiting = max(n_open - len(self._runs), 0)
        self._spinner.update(
            text=f"{escape(self._event_name)}: {self._n_done} done, "
            f"{len(self._runs)} running, {n_waiting} waiting  (Ctrl-C to stop)"
        )
        table = Table.grid(padding=(0, 2))
        for run in list(self._runs):
            seconds = f"{time.monotonic() - run.started_at:.1f} s"
            table.add_row("", Text(title(run)), run.phase, seconds)
        return Group(table, self._spinner)


def make_display(event_name: str, *, is_quiet: bool) -> Display:
    """Give the display that fits where stderr goes.

    Parameters
    ----------
    event_name : str
    is_quiet : bool
        Whether log lines go to the terminal already: then nothing is drawn over them.
    """
    console = Console(stderr=True)
    if console.is_terminal and not is_quiet:
        return LiveDisplay(event_name, console)
    return Display(event_name)


def title(run: Run) -> str:
    """Name a run for people: number, team and name of the submission."""
    return visible(f"{run.claim.submission_id:>4} {run.team}/{run.name}")


def ending(run: Run) -> Text:
    """Say in a line how a run ended."""
    seconds = f"{time.monotonic() - run.started_at:.1f} s"
    verdict = run.verdict
    if verdict is None:
        return Text(f"- {title(run)}  given up: it is no longer this dispatcher's")
    if verdict.outcome is Outcome.SUCCEEDED and run.results is not None:
        name, scores = next(iter(run.results.bagged.items()))
        line = f"✓ {title(run)}  scored  {name} {_score(scores.valid)}  {seconds}"
        return Text(line, style="green")
    reason = (verdict.error or "").strip().splitlines()
    if verdict.outcome is Outcome.INTERRUPTED:
        return Text(f"- {title(run)}  {reason[-1]}  {seconds}", style="yellow")
    state = verdict.state or verdict.outcome
    style = "red" if verdict.outcome is Outcome.FAILED else "yellow"
    told = visible(reason[0]) if reason else ""
    return Text(f"✗ {title(run)}  {state}  {told}  {seconds}", style=style)


def _score(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
