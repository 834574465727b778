"""Files as data: their names and sizes in a header, their contents one after another in a payload.

Who receives them believes nothing: `split` refuses names that lead elsewhere, and sizes that do not
add up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

__all__ = ["MAX_NAME_LENGTH", "PartsError", "join", "split"]

#: Longer names, and more files, are refused.
MAX_NAME_LENGTH, MAX_PARTS = 1024, 100_000


class PartsError(ValueError):
    """Names, sizes and payload do not make files."""


def join(files: Mapping[str, bytes]) -> tuple[list[list[Any]], bytes]:
    """Put files one after another.

    Parameters
    ----------
    files : mapping
        From the name, a relative path with ``/``, to the content.

    Returns
    -------
    names : list of [str, int]
        Name and size of each [bytes], for a header.
    payload : bytes
    """
    return [[name, len(content)] for name, content in files.items()], b"".join(files.values())


def split(names: Any, payload: bytes | memoryview) -> dict[str, memoryview]:
    """Take files apart again; as `join` was given them, and nothing is copied.

    Raises
    ------
    PartsError
        Something is wrong with a name, a size, or the sum of the sizes.
    """
    files: dict[str, memoryview] = {}
    view, position = memoryview(payload), 0
    for name, size in _checked(names):
        if name in files:
            raise PartsError(f"the file {name!r} comes twice")
        files[name] = view[position : position + size]
        position += size
    if position != len(payload):
        raise PartsError(f"the files have {position} bytes, but {len(payload)} have come")
    return files


def _checked(names: Any) -> Sequence[tuple[str, int]]:
    if not isinstance(names, list) or len(names) > MAX_PARTS:
        raise PartsError("there is no list of files, or it is too long")
    found = []
    for entry in names:
        match entry:
            case [str(name), int(size)] if size >= 0 and _is_inside(name):
                found.append((name, size))
            case _:
                raise PartsError(f"no name and size of a file: {entry!r:.200}")
    return found


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    is_short = 0 < len(name) <= MAX_NAME_LENGTH and "\0" not in name
    is_plain = str(path) == name and path.parts and ".." not in path.parts
    return bool(is_short and not path.is_absolute() and is_plain)
