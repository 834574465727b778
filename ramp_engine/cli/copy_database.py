"""``ramp database copy``: from SQLite to PostgreSQL."""

from __future__ import annotations

from pathlib import Path

import click

from ramp_engine.cli import options


@click.command("copy")
@click.argument("target")
@options.config_option
def copy_database(target: str, config: Path | None) -> None:
    """Copy the deployment's SQLite file into an empty PostgreSQL database.

    TARGET is a config.yml that names that database, or its URL. Its tables are made; all rows are
    copied, or none. No dispatcher may work meanwhile. Afterwards, have the deployment's config.yml
    name the new database; the file stays as it is.
    """
    from ramp_database.copying import copy_everything
    from ramp_database.session import Database

    source = options.open_database(config)
    opened = Database(options.database_url(target))
    counts = copy_everything(source, opened)
    names = ("events", "teams", "users", "submissions")
    told = ", ".join(f"{counts[name]} {name}" for name in names)
    click.echo(f"{told} are in {opened.label} now; {sum(counts.values())} rows in all")
