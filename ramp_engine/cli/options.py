"""What the commands share: options, opening the database, loading an event, output."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console
    from sqlalchemy import URL

    from ramp_database.model import Event
    from ramp_database.session import Database
    from ramp_engine.config import EventConfig

#: Columns of a table that goes to a file or a pipe.
_WIDTH_ELSEWHERE = 200

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path),
    envvar="RAMP_CONFIG",
    help="The deployment's file.  [default: config.yml; without one, ramp.db here is the database]",
)
event_config_option = click.option(
    "--event-config",
    required=True,
    type=click.Path(path_type=Path),
    help="The event's config.yml.",
)
event_config_hint = click.option(
    "--event-config",
    type=click.Path(path_type=Path),
    help="The event's config.yml.  [default: the one that was deployed]",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
verbose_option = click.option(
    "-v", "--verbose", count=True, help="Log what happens; twice for everything."
)
log_file_option = click.option(
    "--log-file", type=click.Path(path_type=Path), help="Log to this file as well, as JSON lines."
)


def deployment_dir(config: Path | None) -> Path | None:
    """Give the folder of the deployment's file; None when there is none."""
    from ramp_database.config import DEFAULT_CONFIG

    path = config or Path(DEFAULT_CONFIG)
    return path.absolute().parent if path.is_file() else None


def open_database(config: Path | None, *, is_upgrading: bool = False) -> Database:
    """Open the deployment's database.

    Parameters
    ----------
    config : Path or None
        The deployment's file; None for the default, of which it is said when it is no file.
    is_upgrading : bool
        Whether to bring its tables to this program's version.
    """
    from ramp_database.config import load_deployment
    from ramp_database.session import Database

    deployment = load_deployment(config)
    if deployment.is_default:
        click.echo("no config.yml here: using ramp.db in the current directory", err=True)
    database = Database(deployment.url)
    if is_upgrading:
        database.upgrade()
    return database


def database_url(source: str) -> URL | str:
    """Give the URL of another database: as it is, or that which another config.yml names."""
    from ramp_database.config import load_deployment

    return source if "://" in source else load_deployment(Path(source)).url


def load_event(
    event_config: Path,
    config: Path | None = None,
    *,
    n_workers: int | None = None,
    is_checking_hooks: bool = False,
) -> EventConfig:
    """Read an event's file, the keys of its worker included.

    Parameters
    ----------
    event_config : Path
        The event's file.
    config : Path or None
        The deployment's file, in whose folder shared kits and data are looked for.
    n_workers : int, optional
        Taken in place of the file's.
    is_checking_hooks : bool
        Whether to import the hooks as well, and to check their keys.
    """
    from ramp_engine.config import load_event as load

    if n_workers == 0:
        raise click.BadParameter("0 workers evaluate nothing", param_hint="--n-workers")
    directory = deployment_dir(config)
    return load(
        event_config,
        directory,
        worker_model=_worker_model,
        hook_model=_hook_model if is_checking_hooks else None,
        n_workers=n_workers,
    )


def load_event_of(event: Event, event_config: Path | None, config: Path | None) -> EventConfig:
    """Read the file of an event that is deployed.

    Parameters
    ----------
    event : Event
        The row of the event.
    event_config : Path or None
        Its file, where it is no longer the one that was deployed.
    config : Path or None
        The deployment's file.
    """
    path = event_config or Path(event.config_path)
    if not path.is_file():
        raise click.UsageError(f"there is no {path}: name the event's file with --event-config")
    loaded = load_event(path, config)
    if loaded.ramp.event_name != event.name:
        raise click.UsageError(f"{path} is the file of {loaded.ramp.event_name}, not {event.name}")
    return loaded


def confirm(question: str) -> None:
    """Ask before something is deleted; where nobody can be asked, nothing is.

    Raises
    ------
    click.UsageError
        There is no terminal to ask on.
    click.Abort
        The answer was no.
    """
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Nothing was done: say --yes where nobody can be asked")
    click.confirm(question, abort=True)


def echo_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(json.dumps(value, indent=2, default=str))


def echo_file(path: Path) -> None:
    """Print a file as it is; on a terminal, without what would drive the terminal."""
    with path.open("rb") as file:
        if not sys.stdout.isatty():
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
            return
        for line in file:
            click.echo(visible(line.decode("utf-8", "backslashreplace")), nl=False)


def visible(text: str, *, keep: str = "\n\t") -> str:
    """Replace what would drive a terminal: what a participant wrote is only to be read.

    Parameters
    ----------
    text : str
    keep : str
        What stays though it is not printable; empty for what must stay within its line.
    """
    return "".join(c if c.isprintable() or c in keep else "�" for c in text)


def console() -> Console:
    """Give what prints tables on stdout."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_ELSEWHERE
    return Console(highlight=False, width=width)


def _worker_model(worker_type: str) -> type[BaseModel] | None:
    from ramp_engine.registry import worker_class

    return worker_class(worker_type).config_model


def _hook_model(hook_type: str) -> type[BaseModel] | None:
    from ramp_engine.registry import hook_class

    return hook_class(hook_type).config_model
