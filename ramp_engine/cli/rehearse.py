"""``ramp rehearse``: an event before it happens."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ramp_engine.rehearsal.play import Findings
    from ramp_engine.rehearsal.report import Report

#: Of the reason of a crash, so many characters are shown.
_LONGEST_REASON = 120

_count = click.IntRange(min=1)


@click.command()
@options.config_option
@options.event_config_option
@click.option("--teams", type=_count, default=300, show_default=True, help="How many take part.")
@click.option(
    "--submissions", type=_count, default=2000, show_default=True, help="How many they make."
)
@click.option(
    "--seconds-per-submission",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="How long a run takes on average; that of your kit, for figures of your event.",
)
@click.option(
    "--arrival-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="A quarter is submitted at once, the others evenly over so long.",
)
@click.option(
    "--n-workers", type=int, help="So many at once in each dispatcher.  [default: the event's]"
)
@click.option(
    "--dispatchers",
    type=_count,
    help="So many processes serve the event.  [default: 1, with --chaos 2]",
)
@click.option(
    "--chaos",
    is_flag=True,
    help="Kill and pause dispatchers, break connections, fill the disk, hang and crash workers; "
    "then check that nothing was lost.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="The same gives the same.")
@click.option("--keep", is_flag=True, help="Leave what the rehearsal made, for a closer look.")
@options.json_option
def rehearse(
    config: Path | None,
    event_config: Path,
    teams: int,
    submissions: int,
    seconds_per_submission: float,
    arrival_seconds: float,
    n_workers: int | None,
    dispatchers: int | None,
    chaos: bool,
    seed: int,
    keep: bool,
    as_json: bool,
) -> int:
    """Rehearse an event: how soon, how many, and whether anything gets lost.

    Made-up teams submit to a made-up event; real dispatchers, with the event's own section
    `dispatcher`, evaluate that with workers which only wait. It happens in a schema (PostgreSQL)
    or a file (SQLite) of its own on the deployment's database, which is removed at the end,
    also on Ctrl-C. Neither the deployment's data nor the event's folders are touched.

    The report tells how long submissions wait, how many pass in an hour, what holds them up, and
    how many workers to configure. The exit code is 0 when every submission was recorded exactly
    once and nothing was left behind, and 1 otherwise.
    """
    from ramp_engine import logs
    from ramp_engine.rehearsal.plan import Settings
    from ramp_engine.rehearsal.play import Halt, Rehearsed
    from ramp_engine.rehearsal.play import rehearse as play

    logs.configure()
    event = options.load_event(event_config, config, n_workers=n_workers)
    settings = Settings(
        n_teams=teams,
        n_submissions=submissions,
        seconds=seconds_per_submission,
        arrival_seconds=arrival_seconds,
        seed=seed,
        is_chaotic=chaos,
    )
    what = Rehearsed(event, settings, dispatchers or 1, is_kept=keep)
    database, halt = options.open_database(config), Halt()
    with _halting_on_signals(halt):
        found = play(database, what, lambda line: click.echo(line, err=True), halt)
    database.dispose()
    if found is None:
        raise click.Abort
    _print(found, is_kept=keep, as_json=as_json)
    return edge.EXIT_FAILED if found.violations else 0


@contextmanager
def _halting_on_signals(halt: Callable[[], None]) -> Iterator[None]:
    """Halt on Ctrl-C and SIGTERM; more of them do not keep the stage from being cleared."""

    def handle(_number: int, _frame: object) -> None:
        halt()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print(found: Findings, *, is_kept: bool, as_json: bool) -> None:
    if as_json:
        options.echo_json(_as_dict(found))
    else:
        for name, value in _lines(found.report):
            click.echo(f"{name:32} {value}")
        click.echo(f"{'invariants':32} {_judgement(found)}")
    for violation in found.violations:
        click.echo(f"violated: {violation}", err=True)
    if found.faults:
        click.echo(f"attempts that crashed: {sum(found.crashes.values())}", err=True)
        for reason, n in found.crashes.items():
            click.echo(f"{n:5} {reason[:_LONGEST_REASON]}", err=True)
        click.echo("the figures include the faults; without --chaos they are the event's", err=True)
    if is_kept:
        click.echo(f"kept: {found.place}", err=True)


def _as_dict(found: Findings) -> dict[str, Any]:
    return {
        **asdict(found.report),
        "violations": list(found.violations),
        "faults": list(found.faults),
        "crashes": found.crashes,
        "changed": list(found.changed),
        "n_dispatcher_processes": found.n_processes,
    }


def _lines(report: Report) -> list[tuple[str, str]]:
    return [
        ("submissions", f"{report.n_submissions} in {report.wall_seconds:.1f} s"),
        ("attempts", str(report.n_attempts)),
        ("submission to start", _quantiles(report.to_start_p50, report.to_start_p95)),
        ("submission to score", _quantiles(report.to_score_p50, report.to_score_p95)),
        ("submissions an hour", f"{report.submissions_an_hour:.0f}"),
        ("SQL statements a submission", f"{report.statements_a_submission:.1f}"),
        ("dispatchers' CPU a submission", f"{1000 * report.cpu_seconds_a_submission:.1f} ms"),
        ("bottleneck", f"{report.bottleneck.name}: {report.bottleneck.evidence}"),
        (
            "recommended n_workers",
            f"{report.recommendation.n_workers}: {report.recommendation.reason}",
        ),
    ]


def _quantiles(p50: float | None, p95: float | None) -> str:
    if p50 is None or p95 is None:
        return "-"
    return f"p50 {p50:.3f} s, p95 {p95:.3f} s"


def _judgement(found: Findings) -> str:
    n = len(found.violations)
    told = f"after {len(found.faults)} faults" if found.faults else "without faults"
    return f"all hold, {told}" if n == 0 else f"{n} violated, {told}"
