# Many names: plain strings are several times faster than Path.
# ruff: noqa: PTH110, PTH112, PTH113, PTH115, PTH117, PTH118, PTH206
"""The files that X refers to: found and copied when a bundle is made, linked where a fold runs.

Kits whose data do not fit into memory return paths instead: a list or an array of them, a column
of a frame, or ``(folder, names)`` as ramp-workflow's image workflows take it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Any, Optional

import numpy as np

#: A longer text is no path [characters].
_MAX_PATH = 1024


def relocate(X: Any, root: Path) -> tuple[Any, list[str]]:
    """Find the files below a folder that X refers to.

    Parameters
    ----------
    X : object
        The instances. Looked into: tuples, lists, values of dictionaries, arrays, frames.
    root : Path
        The data folder, to which relative paths in X refer.

    Returns
    -------
    object
        X, with absolute paths below `root` made relative to it.
    list of str
        The files, sorted, relative to `root`.
    """
    finder = _Finder(root)
    finder.look_for_folders(X)
    finder.look_for_files(X)
    return (_map(X, finder.relative_or_same) if finder.has_absolute else X), sorted(finder.files)


class _Finder:
    def __init__(self, root: Path) -> None:
        self.root = str(root.absolute())
        self.real_root = os.path.realpath(root)
        self.folders: list[str] = []
        self.files: set[str] = set()
        self.has_absolute = False

    def relative(self, text: str) -> Optional[str]:
        """Return a path below the root as a relative one, None for anything else."""
        if not 0 < len(text) < _MAX_PATH or "\n" in text or "\0" in text:
            return None
        for root in (self.root, self.real_root):
            if text.startswith(root + os.sep):
                text = text[len(root) + 1 :]
        name = os.path.normpath(text)
        return None if os.path.isabs(name) or name.split(os.sep)[0] == ".." else name

    def relative_or_same(self, text: str) -> str:
        if not os.path.isabs(text):
            return text
        name = self.relative(text)
        exists = name is not None and os.path.exists(os.path.join(self.root, name))
        return name if exists and name is not None else text

    def look_for_folders(self, value: Any) -> None:
        """Note the folders that stand beside names: items of tuples, lists and dictionaries."""
        items = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(items, (tuple, list)):
            return
        for item in items:
            if isinstance(item, (str, PurePath)):
                self._note_folder(str(item))
            elif isinstance(item, (tuple, list, dict)) and len(items) < 100:
                self.look_for_folders(item)

    def _note_folder(self, text: str) -> None:
        name = self.relative(text)
        if name is not None and os.path.isdir(os.path.join(self.root, name)):
            self.folders.append(name)
            self.has_absolute |= os.path.isabs(text)

    def look_for_files(self, value: Any) -> None:
        for text in _leaves(value, with_numbers=bool(self.folders)):
            name = self.relative(text)
            if name is not None:
                self.has_absolute |= os.path.isabs(text)
                self._note_file(name)

    def _note_file(self, name: str) -> None:
        for candidate in (name, *(os.path.join(folder, name) for folder in self.folders)):
            if os.path.isfile(os.path.join(self.root, candidate)):
                self.files.add(os.path.normpath(candidate))


def _leaves(value: Any, with_numbers: bool) -> Iterator[str]:
    """Yield the strings in a value; with a folder beside them, whole numbers may be names too."""
    if isinstance(value, (str, PurePath)) or (with_numbers and type(value) is int):
        yield str(value)
    elif isinstance(value, np.ndarray):
        if value.dtype.kind in ("UOi" if with_numbers else "UO"):
            yield from _leaves(value.ravel().tolist(), with_numbers)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _leaves(item, with_numbers)
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from _leaves(item, with_numbers)
    else:
        for column in _columns(value):
            yield from _leaves(column, with_numbers)


def _columns(value: Any) -> Iterator[Any]:
    """Yield the columns of a frame, a series or an index that may hold text, as arrays."""
    pandas = sys.modules.get("pandas")
    if pandas is None or not isinstance(value, (pandas.DataFrame, pandas.Series, pandas.Index)):
        return
    frame = value if isinstance(value, pandas.DataFrame) else pandas.DataFrame({0: value})
    for position in range(frame.shape[1]):
        column = frame.iloc[:, position]
        if not pandas.api.types.is_numeric_dtype(column.dtype):
            yield column.to_numpy(dtype=object)


def _map(value: Any, change: Callable[[str], str]) -> Any:
    """Return a value with its strings changed; anything but text and containers stays."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, PurePath):
        return type(value)(change(str(value)))
    if isinstance(value, dict):
        return {key: _map(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_map(item, change) for item in value]
    if isinstance(value, tuple):
        items = [_map(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(value, np.ndarray) and value.dtype.kind in "UO":
        return _map_array(value, change)
    return _map_frame(value, change)


def _map_array(array: Any, change: Callable[[str], str]) -> Any:
    changed = np.empty(array.shape, dtype=object)
    changed.ravel()[:] = [_map(item, change) for item in array.ravel().tolist()]
    return changed if array.dtype.kind == "O" else changed.astype(str)


def _map_frame(value: Any, change: Callable[[str], str]) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return value
    if isinstance(value, pandas.Series):
        if pandas.api.types.is_numeric_dtype(value.dtype):
            return value
        return value.map(lambda item: _map(item, change), na_action="ignore")
    if isinstance(value, pandas.DataFrame):
        return value.apply(lambda column: _map_frame(column, change))
    return value


def link(source: Path, target: Path) -> None:
    """Make the content of a folder visible in another one by symbolic links.

    A folder is linked as a whole where the target has none of its name, else its content is. Work
    below the target never changes the source.

    Parameters
    ----------
    source : Path
        The folder with the files.
    target : Path
        The folder where they shall be found; what is already there stays.
    """
    for entry in os.scandir(source):
        place = target / entry.name
        if not os.path.lexists(place):
            place.symlink_to(entry.path)
        elif entry.is_dir() and place.is_dir():
            if place.is_symlink():
                _unfold(place)
            link(Path(entry.path), place)


def _unfold(place: Path) -> None:
    """Replace a link to a folder by a folder of links."""
    folder = Path(os.readlink(place))
    place.unlink()
    place.mkdir()
    link(folder, place)
