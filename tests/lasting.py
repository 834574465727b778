"""Folders that last as long as the tests of this process."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

__all__ = ["lasting_folder", "remove_lasting_folders"]

_made: list[Path] = []


def lasting_folder(prefix: str) -> Path:
    """Make a folder; `remove_lasting_folders` removes it."""
    _made.append(Path(tempfile.mkdtemp(prefix=prefix)))
    return _made[-1]


def remove_lasting_folders() -> None:
    """Remove all that were made in this process; nothing may use them any more."""
    while _made:
        shutil.rmtree(_made.pop())
