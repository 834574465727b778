"""``ramp doctor``: what is wrong, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from ramp_engine.doctor import Finding

_MARKS = {"ok": ("✓", "green"), "warning": ("!", "yellow"), "problem": ("✗", "red")}


@click.command()
@options.config_option
@click.option(
    "--event-config",
    type=click.Path(path_type=Path),
    help="The event's config.yml.  [default: every deployed event]",
)
@options.verbose_option
@options.json_option
def doctor(config: Path | None, event_config: Path | None, verbose: int, as_json: bool) -> int:
    """Check that submissions can be evaluated; name the command that mends what is wrong.

    Nothing is changed. The exit code is 1 when there is a problem, 0 otherwise.
    """
    from ramp_engine import logs
    from ramp_engine.doctor import Level, examine

    logs.configure(verbose)
    findings = []
    for finding in examine(config, event_config, lambda path: options.load_event(path, config)):
        findings.append(finding)
        if not as_json:
            _print(finding)
    n_problems = sum(finding.level is Level.PROBLEM for finding in findings)
    n_warnings = sum(finding.level is Level.WARNING for finding in findings)
    if as_json:
        options.echo_json({"is_healthy": not n_problems, "findings": list(map(vars, findings))})
    else:
        click.echo(f"\n{n_problems} problems, {n_warnings} warnings")
        if n_problems or n_warnings:
            click.echo("the [name] of each is a section of doc/howto/recover.md")
    return edge.EXIT_FAILED if n_problems else 0


def _print(finding: Finding) -> None:
    mark, color = _MARKS[finding.level]
    about = f"{finding.event}: {finding.check}" if finding.event else finding.check
    about += f" [{finding.kind}]" if finding.kind else ""
    message = " ".join(options.visible(finding.message).split())
    click.echo(f"{click.style(mark, fg=color)} {options.visible(about, keep='')}: {message}")
    if finding.remedy:
        click.echo(f"    → {options.visible(finding.remedy, keep='')}")
