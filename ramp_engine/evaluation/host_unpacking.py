"""Unpacking what was sent: the event's bundle, and the files of a submission."""

from __future__ import annotations

import contextlib
import hashlib
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from .host_place import HostError, HostPlace
from .left_outputs import copy_bytes
from .run_folder import remove_tree

_CHUNK = 1 << 20


def unpack(archive: Path, sha256: str, n_bytes: int, target: Path, kind: str) -> None:
    """Unpack an archive that is what it should be; it appears as a whole.

    Parameters
    ----------
    archive : Path
        A tar of folders and regular files.
    sha256 : str
    n_bytes : int
    target : Path
        Is not there yet.
    kind : str
        Of the error when it is something else; the archive is removed then.

    Raises
    ------
    HostError
        It is something else.
    OSError
        The disk refuses; nothing of it is left.
    """
    try:
        _check(archive, sha256, n_bytes)
    except ValueError as error:
        with contextlib.suppress(OSError):
            archive.unlink()
        raise HostError(kind, f"what was sent is not what has come: {error}") from error
    unpacking = target.with_name(f".{target.name}")
    remove_tree(unpacking)
    try:
        unpacking.mkdir(mode=0o755)
        with tarfile.open(archive) as tar:
            for member in tar:
                _take(tar, member, unpacking)
        unpacking.rename(target)
    except (tarfile.TarError, ValueError) as error:
        raise HostError(kind, f"what was sent cannot be unpacked: {error}") from error
    finally:
        remove_tree(unpacking)


def _check(archive: Path, sha256: str, n_bytes: int) -> None:
    found = hashlib.sha256()
    try:
        size = archive.lstat().st_size
        with archive.open("rb") as file:
            while chunk := file.read(_CHUNK):
                found.update(chunk)
    except FileNotFoundError as error:
        raise ValueError("there is nothing") from error
    if size != n_bytes or found.hexdigest() != sha256:
        raise ValueError(f"{size} of {n_bytes} bytes, or its hash differs")


def _take(tar: tarfile.TarFile, member: tarfile.TarInfo, folder: Path) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{member.name!r} leads elsewhere")
    target = folder / path
    if member.isdir():
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        return
    source = tar.extractfile(member) if member.isreg() and not member.issparse() else None
    if source is None:
        raise ValueError(f"{member.name!r} is no file")
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with source, target.open("xb") as file:
        copy_bytes(source, file, member.size)


def take_bundle(place: HostPlace, what: Any) -> bool:
    """Unpack a bundle that has come; tell whether it is there.

    Raises
    ------
    HostError
        What has come is something else, or there is no room for it.
    OSError
        The disk refuses.
    """
    archive, sha256, n_bytes = place.sent(what)
    target = place.bundles / sha256
    if target.is_dir():
        return True
    if not archive.exists():
        return False
    unpack(archive, sha256, n_bytes, target, "bundle")
    archive.unlink()
    return True
