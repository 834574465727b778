"""``ramp database``: people, submissions and events, by hand or by script."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ramp_engine.cli import edge, options
from ramp_engine.cli.copy_database import copy_database
from ramp_engine.cli.import_ramp import import_ramp

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from ramp_database.model import Event
    from ramp_database.session import Database
    from ramp_database.states import State
    from ramp_engine.blending import Blended
    from ramp_engine.retention import Stored

_event_option = click.option("--event", "event_name", required=True, help="Name of the event.")
_team_option = click.option("--team", "team_name", required=True, help="Name of the team.")


@click.group()
def database() -> None:
    """Look after people, submissions and events."""


database.add_command(copy_database)
database.add_command(import_ramp)


@database.command()
@options.config_option
def upgrade(config: Path | None) -> None:
    """Make the tables, or bring them to this program's version."""
    opened = options.open_database(config, is_upgrading=True)
    click.echo(f"the tables of {opened.label} are up to date")


@database.command("add-user")
@options.config_option
@click.option("--login", required=True, help="Name by which the user is known.")
@click.option("--firstname", default="", help="First name.")
@click.option("--lastname", default="", help="Last name.")
@click.option("--email", help="Address; no two users share one.")
@click.option(
    "--access-level",
    type=click.Choice(["asked", "user", "admin"]),
    default="user",
    show_default=True,
    help="What the user may do.",
)
def add_user(
    config: Path | None,
    login: str,
    firstname: str,
    lastname: str,
    email: str | None,
    access_level: str,
) -> None:
    """Add a user."""
    from ramp_database import people

    with options.open_database(config).session() as session:
        people.add_user(
            session,
            login,
            firstname=firstname,
            lastname=lastname,
            email=email,
            access_level=access_level,
        )
    click.echo(f"user {login} added")


@database.command("add-team")
@options.config_option
@_team_option
@click.option("--login", "logins", multiple=True, help="A member; may be given several times.")
def add_team(config: Path | None, team_name: str, logins: tuple[str, ...]) -> None:
    """Add a team."""
    from ramp_database import people

    with options.open_database(config).session() as session:
        people.add_team(session, team_name, logins)
    click.echo(f"team {team_name} added")


@database.command("sign-up-team")
@options.config_option
@_event_option
@_team_option
def sign_up_team(config: Path | None, event_name: str, team_name: str) -> None:
    """Sign a team up to an event."""
    from ramp_database import people

    with options.open_database(config).session() as session:
        people.sign_up_team(session, event_name, team_name)
    click.echo(f"team {team_name} is signed up to {event_name}")


@database.command("add-submission")
@options.config_option
@_event_option
@_team_option
@click.option("--submission", "name", required=True, help="Name of the submission.")
@click.option(
    "--path",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="Folder or archive with its files.",
)
@options.json_option
@click.pass_context
def add_submission(
    ctx: click.Context,
    config: Path | None,
    event_name: str,
    team_name: str,
    name: str,
    path: Path,
    as_json: bool,
) -> None:
    """Add a submission: as ``ramp submit``."""
    from ramp_engine.cli.submit import submit

    ctx.invoke(
        submit,
        path=path,
        config=config,
        event_name=event_name,
        team_name=team_name,
        name=name,
        create_team=False,
        as_json=as_json,
    )


@database.command("set-submission-state")
@options.config_option
@click.option("--submission-id", type=int, required=True, help="Number of the submission.")
@click.option("--state", "state_name", required=True, help="The new state.")
def set_submission_state(config: Path | None, submission_id: int, state_name: str) -> None:
    """Set the state of a submission, such as ``new`` to have it evaluated again."""
    from ramp_database import queue

    state = _state(state_name)
    with options.open_database(config).session() as session:
        queue.set_state(session, submission_id, state, "set by the organiser")
    click.echo(f"submission {submission_id} is {state}")


def _state(name: str) -> State:
    from ramp_database.states import State

    try:
        return State(name)
    except ValueError:
        message = f"{name!r} is none of {', '.join(State)}"
        raise click.BadParameter(message, param_hint="--state") from None


@database.command("get-submissions-by-state")
@options.config_option
@_event_option
@click.option("--state", "state_name", help="Only those in this state.  [default: all]")
@options.json_option
def get_submissions_by_state(
    config: Path | None, event_name: str, state_name: str | None, as_json: bool
) -> None:
    """List the submissions of an event, by state."""
    from ramp_database import events
    from ramp_database.status import event_status

    with options.open_database(config).session(read_only=True) as session:
        found = event_status(session, events.get_event(session, event_name).id)["submissions"]
    if state_name is not None:
        state = _state(state_name)
        found = [row for row in found if row["state"] == state]
    if as_json:
        options.echo_json(found)
        return
    for row in sorted(found, key=lambda row: (row["state"], row["id"])):
        click.echo(f"{row['id']}\t{row['state']}\t{row['team']}\t{row['name']}")


@database.command("export-leaderboards")
@click.argument("directory", type=click.Path(path_type=Path))
@options.config_option
@_event_option
def export_leaderboards(directory: Path, config: Path | None, event_name: str) -> None:
    """Write the leaderboards of an event to DIRECTORY, as JSON and CSV."""
    from ramp_database import events
    from ramp_database.leaderboard import leaderboard
    from ramp_engine.export import write_leaderboard

    with options.open_database(config).session(read_only=True) as session:
        event = events.get_event(session, event_name)
        for kind in ("public", "private"):
            rows = leaderboard(session, event.id, private=kind == "private")
            for path in write_leaderboard(rows, directory / f"{event_name}_{kind}"):
                click.echo(path)


@database.command("delete-event")
@options.config_option
@_event_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Delete it also while submissions are evaluated.")
def delete_event(config: Path | None, event_name: str, yes: bool, force: bool) -> None:
    """Delete an event with its submissions and scores; files on disk are kept.

    But for what waits there for another attempt at a submission: there will be none.
    """
    from ramp_database import events, queue
    from ramp_engine.fold_process import remove_tree

    opened = options.open_database(config)
    with opened.session(read_only=True) as session:
        event = events.get_event(session, event_name)
        n_running = len(queue.owned_of_event(session, event.id))
        kept = _kept_folds(session, event, config)
    if n_running and not force:
        raise click.ClickException(
            f"{n_running} submissions of {event_name} are being evaluated: stop the dispatcher "
            "first, or delete all the same with --force"
        )
    if not yes:
        options.confirm(f"Delete {event_name} with all its submissions and scores?")
    with opened.session() as session:
        events.delete_event(session, event_name)
    for path in kept:
        remove_tree(path)
    click.echo(f"event {event_name} deleted")


def _kept_folds(session: Session, event: Event, config: Path | None) -> list[Path]:
    """List what is kept of the event's submissions, as far as its file tells where."""
    from ramp_database import submissions
    from ramp_database.states import State
    from ramp_engine.done_folds import kept_submissions
    from ramp_engine.errors import RampError

    try:
        work_dir = options.load_event_of(event, None, config).ramp.work_dir
    except (click.UsageError, RampError):  # a dispatcher of an event in that folder sweeps it up
        return []
    ids = set(submissions.ids_by_state(session, event.id, set(State)))
    return [path for path, id_ in kept_submissions(work_dir).items() if id_ in ids]


@database.command("delete-predictions")
@options.config_option
@_event_option
@options.event_config_hint
@click.option("--state", "states", multiple=True, help="Only of those in this state; repeatable.")
@click.option("--team", "teams", multiple=True, help="Only of this team; repeatable.")
@click.option(
    "--submission-id", "ids", type=int, multiple=True, help="Only of this submission; repeatable."
)
@click.option(
    "--older-than",
    "min_age_days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Only of those whose evaluation ended at least so many days ago.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete_predictions(
    config: Path | None,
    event_name: str,
    event_config: Path | None,
    states: tuple[str, ...],
    teams: tuple[str, ...],
    ids: tuple[int, ...],
    min_age_days: float | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete the stored predictions of an event's finished submissions; scores are kept.

    What waits or is being evaluated is left alone: dispatchers may run meanwhile. Without
    predictions a submission cannot be verified any more.
    """
    from ramp_database import events
    from ramp_database.predictions import Selection, select_finished
    from ramp_database.states import FINAL
    from ramp_engine.blend_step import forget
    from ramp_engine.retention import find_stored

    wanted = Selection(_final_states(states) or FINAL, teams, ids, min_age_days)
    opened = options.open_database(config)
    with opened.session(read_only=True) as session:
        event = events.get_event(session, event_name)
        loaded = options.load_event_of(event, event_config, config)
        folder = loaded.ramp.predictions_dir
        finished = select_finished(session, event.id, wanted)
    found = find_stored(finished, folder)
    size = f"predictions of {len(found)} submissions, {_megabytes(found)}"
    if dry_run:
        click.echo(f"would delete {size}, in {folder}")
        return
    if not yes:
        options.confirm(f"Delete {size}, in {folder}?")
    _delete(opened, found)
    forget(loaded)  # what the blend has kept of them


def _delete(opened: Database, found: list[Stored]) -> None:
    from ramp_engine.retention import delete

    deleted = [one for one in found if delete(opened, one)]
    n_left = len(found) - len(deleted)
    left = f"; {n_left} left alone, they were evaluated anew or deleted meanwhile" if n_left else ""
    click.echo(f"predictions of {len(deleted)} submissions deleted, {_megabytes(deleted)}{left}")


def _megabytes(found: list[Stored]) -> str:
    return f"{sum(one.n_bytes for one in found) / 2**20:.1f} MB"


def _final_states(names: tuple[str, ...]) -> frozenset[State]:
    states = frozenset(_state(name) for name in names)
    for state in states:
        if not state.is_final:
            message = f"{state} is not final: predictions are deleted of finished submissions only"
            raise click.BadParameter(message, param_hint="--state")
    return states


@database.command("compute-contributivity")
@options.config_option
@options.event_config_option
@click.option(
    "--min-improvement",
    type=click.FloatRange(min=0.0),
    default=0.0,
    show_default=True,
    help="By how much more a submission must improve the blend to be added.",
)
@click.option("--force", is_flag=True, help="Compute everything anew.")
@options.json_option
def compute_contributivity(
    config: Path | None, event_config: Path, min_improvement: float, force: bool, as_json: bool
) -> int:
    """Blend the scored submissions of an event, to tell what each contributes.

    The numbers are those of ramp-workflow's ramp-blend; the leaderboard shows them. Only what is
    new is read and tried, and dispatchers may run meanwhile. The exit code is 3 when some
    submissions had to be left out, and 1 when all.
    """
    from ramp_engine.blending import Blender

    loaded = options.load_event(event_config, config)
    blender = Blender(options.open_database(config), loaded)
    found = blender.blend(min_improvement=min_improvement, is_forced=force)
    for number, reason in found.left_out.items():
        click.echo(f"submission {number} is left out: {options.visible(reason, keep='')}", err=True)
    if as_json:
        options.echo_json(asdict(found))
    else:
        _tell_blended(found, loaded.ramp.event_name)
    if not found.left_out:
        return 0
    return edge.EXIT_PARTLY if found.n_blended else edge.EXIT_FAILED


def _tell_blended(found: Blended, event_name: str) -> None:
    if found.is_unchanged:
        click.echo(
            f"nothing has changed: {found.n_blended} submissions of {event_name} are blended"
        )
    elif found.n_blended:
        n = sum(percent > 0 for percent in found.percents.values())
        click.echo(f"{found.n_blended} submissions of {event_name} blended, {n} contribute")
    elif not found.n_scored:
        click.echo(f"no submission of {event_name} is scored", err=True)
