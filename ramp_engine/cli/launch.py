"""``ramp launch``: what evaluates submissions."""

from __future__ import annotations

import signal
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from collections.abc import Callable

    from ramp_engine.config import EventConfig
    from ramp_engine.premises import Premises


@click.group()
def launch() -> None:
    """Start what evaluates submissions."""


@launch.command()
@options.config_option
@options.event_config_option
@options.verbose_option
@click.option(
    "--n-workers", type=int, help="So many submissions at once; negative: see config.yml."
)
@click.option(
    "--exit-when-done/--stay",
    default=None,
    help="End when every submission has been evaluated, or wait for more.  "
    "[default: what hunger_policy says]",
)
@options.log_file_option
def dispatcher(
    config: Path | None,
    event_config: Path,
    verbose: int,
    n_workers: int | None,
    exit_when_done: bool | None,
    log_file: Path | None,
) -> None:
    """Evaluate the submissions of an event as they come, until told to stop (Ctrl-C)."""
    from ramp_engine import allocation

    allocation.give_back_early()
    from ramp_engine import logs
    from ramp_engine.evaluation.preload import uncollected

    logs.configure(verbose, log_file)
    with uncollected():
        event = options.load_event(event_config, config, n_workers=n_workers)
        from ramp_engine.premises import Premises
        from ramp_engine.registry import worker_class

        premises = Premises(event, worker_class(event.worker_type))
    if exit_when_done is None:
        exit_when_done = event.dispatcher.hunger_policy == "exit"
    _on_signals(_leave)  # what is begun now must not be left behind
    with closing(premises):
        premises.begin()  # before SQLAlchemy, whose import takes longer than everything else here
        _dispatch(premises, event, config, is_quiet=verbose > 0, is_exiting=exit_when_done)


def _leave() -> None:
    """End a dispatcher that has not begun to dispatch, from wherever it is."""
    sys.exit(0)


def _dispatch(
    premises: Premises, event: EventConfig, config: Path | None, *, is_quiet: bool, is_exiting: bool
) -> None:
    from ramp_engine.evaluation.preload import uncollected

    with uncollected():
        from ramp_engine.cli.progress import make_display
        from ramp_engine.dispatcher import Dispatcher

        database = options.open_database(config)
    with make_display(event.ramp.event_name, is_quiet=is_quiet) as display:
        running = Dispatcher(
            database,
            event,
            is_exiting_when_done=is_exiting,
            observer=display,
            premises=premises,
        )
        display.watch(running)
        _on_signals(running.stop)
        running.run()
    if running.n_open == 0:
        click.echo(f"{event.ramp.event_name}: nothing waits to be evaluated", err=True)
    database.dispose()


@launch.command()
@options.config_option
@options.event_config_option
@click.option("--submission", required=True, help="Name of a folder in submissions_dir or the kit.")
@options.verbose_option
def worker(config: Path | None, event_config: Path, submission: str, verbose: int) -> int:
    """Evaluate one submission alone, without a database."""
    from ramp_engine import logs
    from ramp_engine.alone import evaluate_alone
    from ramp_engine.cli.report import print_report

    logs.configure(verbose)
    event = options.load_event(event_config, config)
    report = evaluate_alone(event, submission)
    print_report(report)
    return 0 if report.results is not None else edge.EXIT_FAILED


@launch.command()
@options.config_option
@click.option(
    "--events-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("events"),
    show_default=True,
    help="Folder with a folder for each event.",
)
@click.option(
    "--linger-seconds",
    type=click.FloatRange(min=0.0),
    default=300.0,
    show_default=True,
    help="Keep a dispatcher so long after its event closed and its last submission was evaluated.",
)
@options.verbose_option
@options.log_file_option
def daemon(
    config: Path | None,
    events_dir: Path,
    linger_seconds: float,
    verbose: int,
    log_file: Path | None,
) -> None:
    """Keep a dispatcher running for each deployed event that needs one (Ctrl-C stops all).

    An event needs one while it is open, and before and after as long as a submission waits or is
    evaluated. Each dispatcher's log is dispatcher.log in the event's logs_dir.
    """
    from ramp_engine import logs
    from ramp_engine.daemon import Daemon

    logs.configure(max(verbose, 1), log_file)
    database = options.open_database(config)
    running = Daemon(database, events_dir, config, linger_seconds=linger_seconds)
    _on_signals(running.stop)
    running.run()


def _on_signals(stop: Callable[[], None]) -> None:
    """Stop in order on Ctrl-C and SIGTERM; a second one ends the process at once."""

    def handle(_number: int, _frame: object) -> None:
        for name in (signal.SIGINT, signal.SIGTERM):
            signal.signal(name, signal.SIG_DFL)
        stop()
        with suppress(OSError, ValueError):  # a full disk behind stderr is no reason to stay
            click.echo("stopping: what runs is given back (again to end at once)", err=True)

    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, handle)
