"""``ramp database import-ramp``: an event of RAMP, with its people and submissions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge, options

if TYPE_CHECKING:
    from ramp_database.ramp_board import OldEvent
    from ramp_engine.importing import Import, Taken

_WORDS = {
    "taken": "submissions taken",
    "there": "submissions that were there already",
    "refused": "submissions refused",
}


@click.command("import-ramp")
@click.argument("source", envvar="RAMP_BOARD_DATABASE")
@options.config_option
@click.option("--event", "event_name", required=True, help="Name of the event, deployed here.")
@click.option("--old-event", help="Its name at RAMP.  [default: the same]")
@click.option(
    "--submissions-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder with RAMP's folders submission_000000001, ...  [default: where RAMP has it]",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    help="Only submissions that are in this state at RAMP, such as scored; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be taken over, and change nothing.")
def import_ramp(
    source: str,
    config: Path | None,
    event_name: str,
    old_event: str | None,
    submissions_dir: Path | None,
    states: tuple[str, ...],
    dry_run: bool,
) -> int:
    """Take teams, their people and their submissions over from RAMP (ramp-board).

    SOURCE is RAMP's own config.yml, or the URL of its database or of one that a dump of it was
    loaded into. Nothing is changed there. Submissions keep their dates and wait to be evaluated:
    scores are not taken over. To run it again takes what is new. The exit code is 3 when a
    submission was refused, which is told on stderr.
    """
    from ramp_database.ramp_board import read_event
    from ramp_engine.importing import Import

    old = read_event(options.database_url(source), old_event or event_name)
    directory = submissions_dir or old.submissions_dir
    running = Import(options.open_database(config), event_name, old, directory, is_dry=dry_run)
    running.take_people()
    counts: Counter[str] = Counter()
    for taken in running.take_submissions(states):
        counts[taken.outcome] += 1
        _tell(taken)
    _tell_sum(running, old, counts, is_dry=dry_run)
    return edge.EXIT_PARTLY if counts["refused"] else 0


def _tell(taken: Taken) -> None:
    if taken.outcome == "refused":
        one = taken.submission
        text = f"{one.team}/{one.name} (submission {one.id} of RAMP): {taken.reason}"
        click.echo(options.visible(text, keep=""), err=True)


def _tell_sum(running: Import, old: OldEvent, counts: Counter[str], *, is_dry: bool) -> None:
    if is_dry:
        click.echo("nothing is changed; without --dry-run it would be:")
    click.echo(f"{len(running.new_teams)} teams and {len(running.new_users)} users made")
    for outcome, words in _WORDS.items():
        if counts[outcome] or outcome == "taken":
            click.echo(f"{counts[outcome]} {words}")
    for reason, n in sorted(old.left_out.items()):
        click.echo(f"left out: {n} {reason}")
    for login in running.without_address:
        text = f"user {login} was taken without an address: another user here has it"
        click.echo(options.visible(text, keep=""), err=True)
