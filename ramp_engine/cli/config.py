"""``ramp config``: look at configuration without starting anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ramp_engine.cli import options

if TYPE_CHECKING:
    from ramp_database.errors import ConfigError


@click.group()
def config() -> None:
    """Check the configuration."""


@config.command()
@options.config_option
@options.event_config_option
@options.json_option
@click.pass_context
def check(ctx: click.Context, config: Path | None, event_config: Path, as_json: bool) -> None:
    """Check the files of a deployment and of an event; nothing is started.

    Every problem is told at once, and the configuration is printed as ramp understands it,
    defaults filled in and secrets masked. The exit code is 2 when there are problems.
    """
    problems, sections = _examine(config, event_config)
    if as_json:
        found = [_to_json(problem) for problem in problems]
        options.echo_json({"is_valid": not found, "problems": found, "config": sections})
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        _print_sections(sections)
        if not problems:
            click.echo(f"{event_config} is in order", err=True)
    ctx.exit(2 if problems else 0)


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
        sections |= options.load_event(event_config, config).to_printable()
    except ConfigErrors as error:
        problems.extend(error.errors)
    return problems, sections


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
