"""What a fold saves for its next run elsewhere: written by a participant's code, taken as data."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from ramp_engine.remote.parts import MAX_NAME_LENGTH

__all__ = ["MAX_BYTES", "MAX_FILES", "CheckpointError", "list_files", "restore"]

#: More is not saved, in bytes and in files.
MAX_BYTES, MAX_FILES = 1 << 30, 10_000
#: All names together, in bytes: they travel in the header of a message.
MAX_NAMES_BYTES = 2 << 20
#: Folders in folders: nobody needs more, and paths stay short.
MAX_DEPTH = 20


class CheckpointError(Exception):
    """It is not saved; the message says why."""


def restore(
    files: Mapping[str, memoryview], folder: Path, uid: int | None, gid: int | None
) -> None:
    """Write a checkpoint into a new folder, and give it to the user that a fold runs as.

    Parameters
    ----------
    files : mapping
        As `ramp_engine.remote.parts.split` gives them: none of the names leads elsewhere.
    folder : Path
        Made.
    uid, gid : int or None
        None: this process's own.

    Raises
    ------
    OSError
        The disk refuses, or one name is both a file and a folder.
    """
    folder.mkdir(mode=0o700)
    made = {folder}
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        made |= {path, *(above for above in path.parents if above.is_relative_to(folder))}
        with path.open("xb") as file:
            file.write(content)
    if uid is not None:
        for path in made:
            os.chown(path, uid, -1 if gid is None else gid, follow_symlinks=False)


def list_files(folder: Path) -> dict[str, Path]:
    """List what a fold has saved; to be called when all its processes are gone.

    Returns
    -------
    dict
        From the name, relative to the folder, to the path of each regular file. Links of either
        kind, pipes and the like are left out.

    Raises
    ------
    CheckpointError
        It is too large, or has names that do not travel: a part of it would be damaged.
    """
    found: dict[str, Path] = {}
    n_bytes = n_name_bytes = 0
    for entry in _entries(folder, MAX_DEPTH):
        n_bytes += entry.stat(follow_symlinks=False).st_size
        path = Path(entry.path)
        name = path.relative_to(folder).as_posix()
        n_name_bytes += _name_bytes(name)
        found[name] = path
        if n_bytes > MAX_BYTES or len(found) > MAX_FILES:
            raise CheckpointError(
                f"the checkpoint is not kept: more than {MAX_BYTES >> 20} MB or {MAX_FILES} files"
            )
        if n_name_bytes > MAX_NAMES_BYTES:
            raise CheckpointError("the checkpoint is not kept: its names are too long")
    return found


def _name_bytes(name: str) -> int:
    """Give the length of a name that others take.

    Raises
    ------
    CheckpointError
        They do not.
    """
    try:
        n_bytes = len(name.encode())
    except UnicodeEncodeError:
        raise CheckpointError(f"the checkpoint is not kept: {name!r:.100} is no UTF-8") from None
    if n_bytes > MAX_NAME_LENGTH - len("checkpoint/"):
        raise CheckpointError(f"the checkpoint is not kept: {name[:100]!r}... is too long a name")
    return n_bytes


def _entries(folder: Path, depth: int) -> Iterator[os.DirEntry[str]]:
    """List the regular files at and below a folder; those that cannot be read are left out."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        status = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and depth:
            yield from _entries(Path(entry.path), depth - 1)
        elif stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and _may_read(entry):
            yield entry


def _may_read(entry: os.DirEntry[str]) -> bool:
    return os.access(entry.path, os.R_OK)
