"""Drafting a revision from the difference between the models and the newest revision."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from alembic import command
from alembic.autogenerate.api import AutogenContext
from alembic.config import Config
from alembic.script import Script, ScriptDirectory
from sqlalchemy import Enum, MetaData

from ramp_database.model import Base
from ramp_database.model.column_types import PlainText, UTCDateTime
from ramp_database.testing import temporary_database

_DIRECTORY = Path(__file__).parent


def draft(message: str, directory: Path = _DIRECTORY, metadata: MetaData = Base.metadata) -> Path:
    """Write the module of a new revision, for a person to read and mend.

    Parameters
    ----------
    message : str
        What it does; becomes its docstring and part of its name.
    directory : Path
        Holds ``env.py`` and ``versions``.
    metadata : MetaData
        The tables as they should be.

    Returns
    -------
    Path
        The module. `ramp_database.schema.HEAD` has to be raised by hand.
    """
    config = Config()
    config.set_main_option("script_location", str(directory).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s_%%(slug)s")
    config.attributes |= {"render_item": _render, "metadata": metadata}
    newest = ScriptDirectory.from_config(config).get_current_head()
    number = int(newest or 0) + 1
    with temporary_database() as database, database.engine.begin() as connection:
        config.attributes["connection"] = connection
        made = command.revision(config, message, autogenerate=True, rev_id=f"{number:04d}")
    assert isinstance(made, Script)  # noqa: S101  one head, one revision
    return Path(made.path)


def _render(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write types of ours as what they are in the database: revisions outlive the models."""
    if kind == "type" and isinstance(item, UTCDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, PlainText):
        return "sa.Text()"
    if kind == "type" and isinstance(item, Enum):
        return f"sa.String({item.length})"
    return False
