"""Files on their way from one machine to another, as one file that is easy to distrust.

A line of JSON, ``[[name, size], ...]``, and then their contents one after another. Who opens one
decides from the names and sizes what is taken; there are neither links nor modes in it.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from .left_outputs import copy_bytes, open_untrusted

#: The longest first line [bytes].
MAX_HEADER_BYTES = 16 << 20


class ParcelError(ValueError):
    """It is no parcel, or not the one that was sent."""


def write_parcel(target: Path, files: Mapping[str, tuple[Path, int]]) -> tuple[int, str]:
    """Write a parcel; it appears as a whole.

    Parameters
    ----------
    target : Path
        Replaced.
    files : mapping
        From the name to where the file is, and its size [bytes].

    Returns
    -------
    n_bytes : int
    sha256 : str
        In hexadecimal digits.

    Raises
    ------
    OSError
        The disk refuses, or a file is no regular one, or has become shorter.
    """
    temporary = target.with_name(f".{target.name}")
    header = json.dumps([[name, size] for name, (_, size) in files.items()]).encode() + b"\n"
    try:
        with temporary.open("wb") as parcel:
            hashed = _HashingWriter(parcel)
            hashed.write(header)
            for path, size in files.values():
                with open_untrusted(path) as file:
                    copy_bytes(file, hashed, size)  # type: ignore[arg-type]
        if hashed.n_bytes != len(header) + sum(size for _, size in files.values()):
            raise OSError("a file has changed while it was packed")
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return hashed.n_bytes, hashed.sha256.hexdigest()


class _HashingWriter:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.n_bytes = 0

    def write(self, data: bytes) -> int:
        self.sha256.update(data)
        self.n_bytes += len(data)
        return self._file.write(data)


def open_parcel(
    path: Path, is_wanted: Callable[[str], bool], max_bytes: int
) -> Iterator[tuple[str, int, IO[bytes]]]:
    """Read a parcel.

    Parameters
    ----------
    path : Path
    is_wanted : callable
        Tells of a name whether it may be in there.
    max_bytes : int
        The most that all files may have.

    Yields
    ------
    tuple of str, int, file
        The name, the size, and where so many bytes are to be read from before the next.

    Raises
    ------
    ParcelError
        A name is not wanted or comes twice, or the sizes do not add up.
    OSError
        It cannot be read.
    """
    with path.open("rb") as file:
        header = file.readline(MAX_HEADER_BYTES)
        entries = _entries(header)
        names = [name for name, _ in entries]
        total = sum(size for _, size in entries)
        if len(set(names)) != len(names) or not all(map(is_wanted, names)):
            raise ParcelError(f"files that nobody asked for: {names!r:.500}")
        if total > max_bytes:
            raise ParcelError(f"{total} bytes, at most {max_bytes} are taken")
        if os.fstat(file.fileno()).st_size != len(header) + total:
            raise ParcelError("its files are longer or shorter than it says")
        offset = len(header)
        for name, size in entries:
            file.seek(offset)
            yield name, size, file
            offset += size


def _entries(header: bytes) -> list[tuple[str, int]]:
    try:
        said: Any = json.loads(header)
    except (ValueError, RecursionError) as error:
        raise ParcelError("there is no list of files in it") from error
    if not isinstance(said, list) or not all(map(_is_entry, said)):
        raise ParcelError(f"no list of files: {said!r:.200}")
    return [(name, size) for name, size in said]


def _is_entry(entry: Any) -> bool:
    is_pair = isinstance(entry, list) and len(entry) == 2 and isinstance(entry[0], str)
    return is_pair and type(entry[1]) is int and entry[1] >= 0
