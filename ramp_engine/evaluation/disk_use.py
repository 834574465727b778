"""How much a fold has written: a walk in small steps, through folders of somebody else's making."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .limits import MAX_PATH

#: Entries that are looked at in one step: some milliseconds.
STEP = 1000
#: With less room left, or less than a tenth of a small disk, it is as good as full [bytes].
MIN_FREE_BYTES = 64 << 20


@dataclass
class DiskUse:
    """What a walk has found so far."""

    n_bytes: int = 0  #: of disk space: a sparse file has little
    n_files: int = 0  #: with folders, links, and all else that has a name
    longest: int = 0  #: length of a path that is too long to be followed [bytes]


def walk(folders: Sequence[Path]) -> Iterator[DiskUse]:
    """Count what lies in some folders, a step at a time; no link is followed.

    Parameters
    ----------
    folders : sequence of Path
        They need not exist.

    Yields
    ------
    DiskUse
        One and the same, after each `STEP` entries and at the end. What is removed meanwhile may
        have been counted, what is added may have not.
    """
    use = DiskUse()
    waiting = [os.fspath(folder) for folder in folders]
    while waiting:
        folder = waiting.pop()
        for entry in _entries(folder, use):
            if _count(entry, use):
                waiting.append(os.path.join(folder, entry.name))  # noqa: PTH118 (many of them)
            if use.n_files % STEP == 0:
                yield use
    yield use


def is_full(folder: Path) -> bool:
    """Return whether a disk is as good as full: the same rule as the engine's (`room`)."""
    usage = shutil.disk_usage(folder)
    return usage.free < min(MIN_FREE_BYTES, usage.total // 10)


def _count(entry: os.DirEntry[str], use: DiskUse) -> bool:
    """Count one entry; tell whether it is a folder."""
    use.n_files += 1
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # just removed
        return False
    is_folder = stat.S_ISDIR(status.st_mode)
    use.n_bytes += status.st_blocks * 512 // (1 if is_folder else max(1, status.st_nlink))
    return is_folder


def _entries(folder: str, use: DiskUse) -> Iterator[os.DirEntry[str]]:
    length = len(os.fsencode(folder))
    if length >= MAX_PATH - 256:
        use.longest = max(use.longest, length)
        return
    try:
        descriptor = _open_folder(folder)
    except OSError:  # just removed, or replaced
        return
    try:
        with os.scandir(descriptor) as entries:
            yield from entries
    finally:
        os.close(descriptor)


def _open_folder(folder: str) -> int:
    """Open a folder; one that its owner has made unreadable is given back the permission."""
    flags = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(folder, os.O_RDONLY | flags)
    except PermissionError:
        held = os.open(folder, os.O_PATH | flags)
        try:
            os.chmod(f"/proc/self/fd/{held}", 0o700)  # noqa: PTH101 (never the target of a link)
        finally:
            os.close(held)
        return os.open(folder, os.O_RDONLY | flags)
