"""``ramp verify``: recorded scores held against the predictions that they were made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ramp_database.session import Database
    from ramp_engine.verification import Finding, Verification, Verifier


@click.command()
@options.config_option
@click.argument("submission_ids", type=int, nargs=-1)
@click.option("--all", "is_all", is_flag=True, help="All that are scored, with --event.")
@click.option("--event", "event_name", help="Name of the event, with --all.")
@options.event_config_hint
@options.json_option
def verify(
    config: Path | None,
    submission_ids: tuple[int, ...],
    is_all: bool,
    event_name: str | None,
    event_config: Path | None,
    as_json: bool,
) -> int:
    """Score the stored predictions of submissions again, and compare with what is recorded.

    Nothing is changed. The exit code is 0 when every score is as recorded, 1 when one differs or
    nothing can be verified, and 3 when a part cannot.
    """
    from ramp_engine.verification import tell

    if is_all == bool(submission_ids) or is_all != (event_name is not None):
        raise click.UsageError("give either numbers of submissions, or --all --event NAME")
    database = options.open_database(config)
    numbers = _scored(database, event_name) if event_name else list(submission_ids)
    verifiers = _verifiers(database, numbers, event_config, config)
    found: list[Verification] = []
    for number in numbers:
        found.append(verifiers[number].verify(number))
        if not as_json:
            click.echo(options.visible(tell(found[-1]), keep=""))
    if as_json:
        options.echo_json([asdict(one) for one in found])
    elif not found:
        click.echo(f"no submission of {event_name} is scored", err=True)
    return exit_code([one.finding for one in found])


def exit_code(findings: Collection[Finding]) -> int:
    """Give the exit code that tells what was found."""
    from ramp_engine.verification import Finding

    if Finding.DIFFERENT in findings:
        return edge.EXIT_FAILED
    if Finding.UNVERIFIABLE not in findings:
        return 0
    return edge.EXIT_PARTLY if Finding.VERIFIED in findings else edge.EXIT_FAILED


def _scored(database: Database, event_name: str) -> list[int]:
    from ramp_database import events, submissions
    from ramp_database.states import State

    with database.session(read_only=True) as session:
        event = events.get_event(session, event_name)
        return submissions.ids_by_state(session, event.id, {State.SCORED})


def _verifiers(
    database: Database, numbers: list[int], event_config: Path | None, config: Path | None
) -> dict[int, Verifier]:
    """Make what verifies each submission: one for all of an event."""
    from ramp_database import submissions
    from ramp_engine.verification import Verifier

    of_events: dict[str, Verifier] = {}
    found = {}
    with database.session(read_only=True) as session:
        for number in numbers:
            event = submissions.get(session, number).event
            if event.name not in of_events:
                loaded = options.load_event_of(event, event_config, config)
                of_events[event.name] = Verifier(database, loaded)
            found[number] = of_events[event.name]
    return found
