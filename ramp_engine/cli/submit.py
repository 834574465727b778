"""``ramp submit``: hand in a submission."""

from __future__ import annotations

from pathlib import Path

import click

from ramp_engine.cli import options


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@options.config_option
@click.option("--event", "event_name", required=True, help="Name of the event.")
@click.option("--team", "team_name", required=True, help="Name of the team that submits.")
@click.option("--name", help="Name of the submission.  [default: that of PATH]")
@click.option(
    "--create-team", is_flag=True, help="Make the team and sign it up, where that is not done."
)
@options.json_option
def submit(
    path: Path,
    config: Path | None,
    event_name: str,
    team_name: str,
    name: str | None,
    create_team: bool,
    as_json: bool,
) -> None:
    """Hand in PATH: a folder, a .zip or a .tar.gz with the files that the kit asks for.

    The files are checked before the submission is taken; what is missing is named.
    """
    from ramp_database import events, people, submissions
    from ramp_engine.intake import MAX_BYTES, default_name, read_files

    database = options.open_database(config)
    with database.session(read_only=True) as session:
        largest = events.get_event(session, event_name).max_submission_mb
    files = read_files(path, max_bytes=MAX_BYTES if largest is None else int(largest * 2**20))
    with database.session() as session:
        if create_team:
            people.ensure_signed_up(session, event_name, team_name)
        row = submissions.add(session, event_name, team_name, name or default_name(path), files)
        answer = {"id": row.id, "event": event_name, "team": team_name, "name": row.name}
        answer |= {"state": str(row.state), "content_hash": row.content_hash}
    if as_json:
        options.echo_json(answer)
        return
    click.echo(
        f"submission {answer['id']}: {answer['name']} of team {team_name} waits to be evaluated"
    )
