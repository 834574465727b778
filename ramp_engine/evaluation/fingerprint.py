# Many names: plain strings are several times faster than Path.
# ruff: noqa: PTH113, PTH118
"""What a bundle is made from, as hashes. Runs on the trusted side."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

#: Raised when the layout of a bundle changes, so that no old one is taken for a new one.
FORMAT = 1

_CHUNK = 1 << 20


def kit_files(kit: Path) -> list[str]:
    """Return the files of a kit that belong to its bundle.

    Left out are public data (``data/``), every submission but the starting kit, outputs of
    ramp-test, hidden files and byte code.

    Returns
    -------
    list of str
        Sorted paths relative to the kit.
    """
    return sorted(name for name in _files_below(kit) if _is_of_kit(name))


def _is_of_kit(name: str) -> bool:
    parts = name.split("/")
    if parts[0] == "data" or "training_output" in parts:
        return False
    return parts[0] != "submissions" or parts[1] == "starting_kit"


def data_files(data: Path, kit: Path) -> list[str]:
    """Return the data files of an event.

    Returns
    -------
    list of str
        Sorted paths relative to `data`: everything there, or ``data/`` alone when the data lie
        in the kit's own folder.
    """
    names = _files_below(data)
    if data.resolve() == kit.resolve():
        return sorted(name for name in names if name.startswith("data/"))
    return sorted(names)


def _files_below(root: Path) -> Iterator[str]:
    """Yield relative paths, following links to folders but no circle of them."""
    seen = {os.path.realpath(root)}
    for folder, folders, names in os.walk(root, followlinks=True):
        folders[:] = [name for name in folders if _is_new_folder(folder, name, seen)]
        base = os.path.relpath(folder, root)
        for name in names:
            if not name.startswith(".") and os.path.isfile(os.path.join(folder, name)):
                yield name if base == "." else f"{base}/{name}"


def _is_new_folder(folder: str, name: str, seen: set[str]) -> bool:
    real = os.path.realpath(os.path.join(folder, name))
    if name.startswith(".") or name == "__pycache__" or real in seen:
        return False
    seen.add(real)
    return True


def files_hash(root: Path, names: Sequence[str]) -> str:
    """Return the SHA-256 over names and contents of files."""
    total = hashlib.sha256()
    for name in names:
        total.update(os.fsencode(name) + b"\0" + _file_digest(root / name))
    return total.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.digest()


def folds_hash(folds: Sequence[tuple[Any, Any]]) -> str:
    """Return the SHA-256 over the indices of folds, whatever their integer type."""
    import numpy as np  # the engine, which hashes kits and data too, has none

    total = hashlib.sha256()
    for fold in folds:
        for indices in fold:
            is_mask = indices.dtype == bool
            values = np.ascontiguousarray(indices, dtype="u1" if is_mask else "<i8")
            total.update(b"%d %d:" % (is_mask, len(values)) + values.tobytes())
    return total.hexdigest()


def environment_lock() -> list[str]:
    """Return interpreter and installed packages of this environment, ``name==version`` each."""
    packages = {
        f"{str(item.metadata['Name']).lower()}=={item.version}"
        for item in importlib.metadata.distributions()
    }
    return [f"python=={platform.python_version()}", sys.platform, *sorted(packages)]


def text_hash(lines: Sequence[str]) -> str:
    """Return the SHA-256 of lines of text."""
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def bundle_hash(
    hashes: Mapping[str, str], data_label: Optional[str], hides_labels: bool = False
) -> str:
    """Return the name of a bundle: the hash of its inputs.

    Parameters
    ----------
    hashes : dict
        The hashes of ``kit``, ``data``, ``folds`` and ``environment``.
    data_label : str or None
        The label of the data.
    hides_labels : bool
        Whether no fold sees the labels of its validation part.
    """
    lines = [f"format={FORMAT}", f"data_label={data_label!r}"]
    if hides_labels:  # else the name is that of bundles made before there was a choice
        lines.append("validation_labels=hidden")
    return text_hash(lines + [f"{key}={hashes[key]}" for key in sorted(hashes)])
