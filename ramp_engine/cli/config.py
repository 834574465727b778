"""``ramp config``: look at configuration without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ramp_database.errors import ConfigError
    from ramp_engine.config import EventConfig


@click.group()
def config() -> None:
    """Check the configuration."""


@config.command()
@options.config_option
@options.event_config_option
@options.json_option
@click.option(
    "--online",
    is_flag=True,
    help="Ask the place where submissions are to run as well: credentials, image, quota, ...",
)
@click.pass_context
def check(
    ctx: click.Context, config: Path | None, event_config: Path, as_json: bool, online: bool
) -> None:
    """Check the files of a deployment and of an event; nothing is started.

    Every problem is told at once, and the configuration is printed as ramp understands it,
    defaults filled in and secrets masked. The exit code is 2 when there are problems.
    """
    problems, sections = _examine(config, event_config)
    told = [_to_json(problem) for problem in problems]
    if online and not problems:
        told = [{"message": problem} for problem in _ask_online(config, event_config)]
    if as_json:
        options.echo_json({"is_valid": not told, "problems": told, "config": sections})
    else:
        for one in told:
            click.echo(one["message"], err=True)
        _print_sections(sections)
        if not told:
            click.echo(f"{event_config} is in order", err=True)
    ctx.exit(2 if told else 0)


def _ask_online(config: Path | None, event_config: Path) -> Sequence[str]:
    """Have the worker look for problems where submissions are to run."""
    from ramp_engine.errors import WorkerError
    from ramp_engine.reaping import Place

    place = Place.read(event_config, options.deployment_dir(config))
    try:
        return place.worker_class.check_online(place.event.worker_config())
    except WorkerError as error:
        return [str(error)]


def _examine(
    config: Path | None, event_config: Path
) -> tuple[list[ConfigError], dict[str, dict[str, Any]]]:
    """Read both files; give their problems, and their sections as they are understood."""
    from ramp_database.config import load_deployment
    from ramp_database.errors import ConfigErrors

    problems: list[ConfigError] = []
    sections: dict[str, dict[str, Any]] = {}
    try:
        sections["sqlalchemy"] = load_deployment(config).to_printable()["sqlalchemy"]
    except ConfigErrors as error:
        problems.extend(error.errors)
    try:
        sections |= _load(event_config, config).to_printable()
    except ConfigErrors as error:
        problems.extend(error.errors)
    return problems, sections


def _load(event_config: Path, config: Path | None) -> EventConfig:
    return options.load_event(event_config, config, is_checking_hooks=True)


def _to_json(problem: ConfigError) -> dict[str, Any]:
    names = ("line", "key", "expected", "found", "suggestion")
    return {
        "path": str(problem.path),
        **{name: getattr(problem, name) for name in names},
        "message": str(problem),
    }


def _print_sections(sections: dict[str, dict[str, Any]]) -> None:
    import yaml

    if sections:
        click.echo(yaml.safe_dump(sections, sort_keys=False, allow_unicode=True), nl=False)
