"""Reading and writing in folders where untrusted code could write.

Whoever reads there must not follow a link, wait for a pipe, or take a file of any size; whoever
writes there must not write through a link.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class RefusedFileError(Exception):
    """A file is not what it should be; the message says why."""


@contextlib.contextmanager
def open_regular(folder: Path, name: str, max_bytes: int) -> Iterator[BinaryIO]:
    """Open a regular file for reading, following no link in its last two components.

    Parameters
    ----------
    folder : Path
        The folder.
    name : str
        Name of the file in it.
    max_bytes : int
        The largest size that is taken [bytes].

    Raises
    ------
    FileNotFoundError
        There is no such file.
    RefusedFileError
        It is a link of either kind, a pipe, a device, or too large.
    """
    with _directory(folder) as directory:
        try:
            descriptor = os.open(name, _READ, dir_fd=directory)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise RefusedFileError(f"{name} is not a regular file") from error
    try:
        _check(os.fstat(descriptor), name, max_bytes)
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def _check(status: os.stat_result, name: str, max_bytes: int) -> None:
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        raise RefusedFileError(f"{name} is not a regular file of its own")
    if status.st_size > max_bytes:
        raise RefusedFileError(f"{name} has {status.st_size} bytes, at most {max_bytes} are read")


def read_text(folder: Path, name: str, max_bytes: int = 100_000) -> str:
    """Return the text of a small file; an empty one when it is missing or refused."""
    try:
        with open_regular(folder, name, max_bytes) as file:
            return file.read().decode("utf-8", "backslashreplace")
    except (FileNotFoundError, RefusedFileError):
        return ""


def is_regular(folder: Path, name: str) -> bool:
    """Return whether there is a regular file of that name, not a link of either kind to one."""
    try:
        status = (folder / name).lstat()
        return stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    except OSError:
        return False


def write_text(folder: Path, name: str, text: str) -> None:
    """Write a new file in place of whatever has its name.

    Raises
    ------
    RefusedFileError
        The folder is a link, or something in it cannot be replaced.
    """
    with _directory(folder) as directory:
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            descriptor = os.open(name, flags, 0o644, dir_fd=directory)
        except OSError as error:
            raise RefusedFileError(f"{name} cannot be written: {error.strerror}") from error
    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (a descriptor)
        file.write(text)


def remove(folder: Path, name: str) -> None:
    """Remove a name from a folder, if it is there and is no folder itself."""
    with contextlib.suppress(OSError, RefusedFileError), _directory(folder) as directory:
        os.unlink(name, dir_fd=directory)


@contextlib.contextmanager
def _directory(folder: Path) -> Iterator[int]:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RefusedFileError(f"{folder.name} is not a folder") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)
