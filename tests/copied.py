"""A deployment that was made once, copied for each test that changes it."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

__all__ = ["copy_deployment"]


def copy_deployment(source: Path, directory: Path) -> None:
    """Copy the folder of a deployed iris event on SQLite, with all that it has come to.

    Nothing of it may run. The database alone knows where it lies, and is told the new place.
    """
    shutil.copytree(source, directory, dirs_exist_ok=True)
    place = directory / "events" / "iris" / "config.yml"
    with contextlib.closing(sqlite3.connect(directory / "ramp.db")) as connection:
        connection.execute("UPDATE events SET config_path = ?", (str(place),))
        connection.commit()
