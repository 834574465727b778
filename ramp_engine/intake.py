"""Reading what a participant hands in: a folder, a ``.zip`` or a ``.tar.gz``.

Nothing is unpacked to disk: files are read into memory, each checked by name, kind and size, so
that a path outside the submission, a link, or a small archive with huge content is refused.
"""

from __future__ import annotations

import os
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

from ramp_database.submissions import SubmissionFile
from ramp_engine.errors import SubmissionRejectedError

#: The most that the files of a submission may hold together, in bytes.
MAX_BYTES = 100 << 20
#: The most files that a submission may have.
MAX_FILES = 1000
#: The longest path inside a submission, in bytes of UTF-8.
MAX_PATH_BYTES = 255

_IGNORED_DIRECTORIES = {"__pycache__", "__MACOSX", "training_output"}
_IGNORED_SUFFIXES = {".pyc", ".pyo"}
_ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz)$", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def default_name(path: Path) -> str:
    """Give the name of a submission whose team did not choose one: that of its folder."""
    return _ARCHIVE.sub("", path.resolve().name)


def read_files(path: Path, *, max_bytes: int = MAX_BYTES) -> list[SubmissionFile]:
    """Read the files of a submission.

    Hidden files, byte code and ``training_output/`` are left out. An archive may hold the files at
    its top or in one folder.

    Parameters
    ----------
    path : Path
        A folder, a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
    max_bytes : int
        The most that the files may hold together.

    Returns
    -------
    list of SubmissionFile
        Sorted by path.

    Raises
    ------
    SubmissionRejectedError
        There are no files, too many or too large ones, or one that is not a plain file.
    """
    try:
        if path.is_dir():
            found = list(_bounded(_folder_files(path), max_bytes))
        else:
            found = _without_top_folder(list(_bounded(_archive_files(path), max_bytes)))
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, RuntimeError) as error:
        raise SubmissionRejectedError(f"{path} cannot be read: {error}") from error
    if not found:
        raise SubmissionRejectedError(f"{path} holds no files")
    return sorted(found, key=lambda file: file.path)


def _folder_files(root: Path) -> Iterator[tuple[str, IO[bytes]]]:
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not _is_ignored(name))
        for name in sorted([*files, *(n for n in names if (Path(directory) / n).is_symlink())]):
            if _is_ignored(name):
                continue
            path = Path(directory, name)
            inside = path.relative_to(root).as_posix()
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _not_plain(inside)
            with path.open("rb") as file:
                yield inside, file


def _archive_files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    if path.is_file() and zipfile.is_zipfile(path):
        yield from _zip_files(path)
    elif path.is_file() and tarfile.is_tarfile(path):
        yield from _tar_files(path)
    else:
        raise SubmissionRejectedError(
            f"{path} is neither a folder nor a .zip or .tar.gz archive",
            "Give the folder that holds the submission's files",
        )


def _zip_files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or _is_ignored_path(member.filename):
                continue
            if kind not in (0, stat.S_IFREG):
                raise _not_plain(member.filename)
            with archive.open(member) as file:
                yield member.filename, file


def _tar_files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isdir() or _is_ignored_path(member.name):
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                raise _not_plain(member.name)
            with file:
                yield member.name, file


def _bounded(members: Iterator[tuple[str, IO[bytes]]], max_bytes: int) -> Iterator[SubmissionFile]:
    """Read the members, and refuse the submission as soon as it is too large."""
    n_bytes, paths = 0, set[str]()
    for name, file in members:
        path = _checked_path(name)
        content = file.read(max_bytes - n_bytes + 1)
        n_bytes += len(content)
        if n_bytes > max_bytes:
            raise SubmissionRejectedError(
                f"its files hold more than {max_bytes / 2**20:g} MB",
                f"{path} is where the limit was passed",
            )
        if path in paths:
            raise SubmissionRejectedError(f"{path!r} is in it twice")
        paths.add(path)
        if len(paths) > MAX_FILES:
            raise SubmissionRejectedError(f"it has more than {MAX_FILES} files")
        yield SubmissionFile(path=path, content=content)


def _checked_path(name: str) -> str:
    path = PurePosixPath(name)
    is_outside = path.is_absolute() or ".." in path.parts
    is_odd = _CONTROL.search(name) or len(name.encode("utf-8", "replace")) > MAX_PATH_BYTES
    if is_outside or is_odd or not path.parts:
        raise SubmissionRejectedError(f"the file name {name!r} is not allowed")
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        raise SubmissionRejectedError(f"the file name {name!r} is not UTF-8") from error
    return path.as_posix()


def _without_top_folder(files: list[SubmissionFile]) -> list[SubmissionFile]:
    """Take the files out of the one folder that holds them all, if there is one."""
    tops = {PurePosixPath(file.path).parts[0] for file in files}
    if len(tops) != 1 or any("/" not in file.path for file in files):
        return files
    return [SubmissionFile(path=file.path.split("/", 1)[1], content=file.content) for file in files]


def _is_ignored_path(name: str) -> bool:
    return any(_is_ignored(part) for part in PurePosixPath(name).parts if part != "..")


def _is_ignored(name: str) -> bool:
    is_hidden = name.startswith(".") and name not in (".", "..")
    return is_hidden or name in _IGNORED_DIRECTORIES or Path(name).suffix in _IGNORED_SUFFIXES


def _not_plain(name: str) -> SubmissionRejectedError:
    return SubmissionRejectedError(
        f"{name!r} is a link or a special file", "Put the file itself into the submission"
    )
