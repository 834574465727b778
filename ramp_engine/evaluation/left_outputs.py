"""What a run of the fold step has left: files of known names, which others could write."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .untrusted_files import RefusedFileError, open_regular, read_text

#: Of a longer log so many bytes are kept of its head, and as many of its tail: more than the fold
#: step leaves by default, or what it says of its own cut would be cut out.
LOG_HALF_BYTES = (5 << 20) + (1 << 16)
#: A larger file of predictions is not taken, nor what goes beyond the total, in bytes.
MAX_FILE_BYTES, MAX_TOTAL_BYTES = 2 << 30, 16 << 30

_FOLD = re.compile(r"fold_\d{1,4}")
_OUTPUT = re.compile(
    r"y_pred_(train|test)\.(npz|json)|(train|valid|test)_time|(state|error)\.txt|limit\.json"
)


def fold_folders(output: Path) -> Iterator[Path]:
    """List the folders of folds."""
    return _entries(output, _FOLD, _is_folder)


def output_files(fold: Path) -> Iterator[Path]:
    """List the outputs of a fold: regular files with one name."""
    return _entries(fold, _OUTPUT, _is_file_of_its_own)


def output_sizes(fold: Path) -> dict[str, int]:
    """Give the size of each output of a fold, in bytes, by its name; nothing else is looked at."""
    return {path.name: path.lstat().st_size for path in output_files(fold)}


def is_output(name: str) -> bool:
    """Tell whether an output of a fold has such a name."""
    return _OUTPUT.fullmatch(name) is not None


def is_tested(output: Path, number: int) -> bool:
    """Tell whether the fold step says that a fold is done: it does so last of all."""
    return read_text(output / f"fold_{number}", "state.txt") == "tested"


def copy_log(log: IO[bytes], target: Path, mode: int = 0o644) -> None:
    """Copy a log, byte for byte; of a very long one the head and the tail.

    Parameters
    ----------
    log : file
        Open for reading.
    target : Path
        Replaced; its directory is made.
    mode : int
        Permissions of `target`.

    Raises
    ------
    OSError
        The disk refuses.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    size = os.fstat(log.fileno()).st_size
    n_left_out = size - 2 * LOG_HALF_BYTES
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as copy:
        log.seek(0)
        if n_left_out <= 0:
            copy_bytes(log, copy, size)
            return
        copy_bytes(log, copy, LOG_HALF_BYTES)
        copy.write(b"\n[... %d bytes left out ...]\n" % n_left_out)
        log.seek(size - LOG_HALF_BYTES)
        copy_bytes(log, copy, LOG_HALF_BYTES)


def copy_bytes(source: IO[bytes], target: IO[bytes], n_bytes: int) -> None:
    """Copy so many bytes, or as many as there are."""
    while n_bytes > 0 and (chunk := source.read(min(n_bytes, 1 << 20))):
        target.write(chunk)
        n_bytes -= len(chunk)


def _entries(
    directory: Path, pattern: re.Pattern[str], is_kind: Callable[[os.stat_result], bool]
) -> Iterator[Path]:
    """List the entries of a real directory that have a known name and are of a kind themselves."""
    if not _has_kind(directory, _is_folder):
        return
    for path in sorted(directory.iterdir()):
        if pattern.fullmatch(path.name) and _has_kind(path, is_kind):
            yield path


def _is_folder(status: os.stat_result) -> bool:
    return stat.S_ISDIR(status.st_mode)


def _is_file_of_its_own(status: os.stat_result) -> bool:
    """Tell whether it is a regular file with one name: a hard link is a way to another's."""
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _has_kind(path: Path, is_kind: Callable[[os.stat_result], bool]) -> bool:
    try:
        return is_kind(path.lstat())
    except OSError:
        return False


@contextlib.contextmanager
def open_untrusted(path: Path) -> Iterator[IO[bytes]]:
    """Open a regular file for reading; follow no link, wait for nobody at a pipe's other end.

    Raises
    ------
    OSError
        It is something else, or cannot be read.
    """
    try:
        with open_regular(path.parent, path.name, sys.maxsize) as file:
            yield file
    except RefusedFileError as error:
        raise OSError(str(error)) from error
