"""Reading what a participant hands in: a folder, a ``.zip`` or a ``.tar.gz``.

Nothing is unpacked to disk: files are read into memory, each checked by name, kind and size, so
that a path outside the submission, a link, or a small archive with huge content is refused. An
archive is judged by what it says that it holds, by what it really holds, and by the ratio of that
to its own size. What the names and the files must be besides is checked where they are stored, in
`ramp_database.submissions.check_files`.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Collection, Iterator
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
#: The most entries that an archive may have, folders and what is left out included.
MAX_ENTRIES = 10 * MAX_FILES
#: The deepest folder of a file.
MAX_DEPTH = 16
#: An archive may hold so many times its own size...
MAX_RATIO = 200
#: ...where that is more than so many bytes.
MIN_BOMB_BYTES = 10 << 20

_ENTRY_BYTES = 4096  # of an entry in a tar archive, besides its content
_IGNORED_DIRECTORIES = {"__pycache__", "__MACOSX", "training_output"}
_IGNORED_SUFFIXES = {".pyc", ".pyo"}
#: What the standard library raises of archives that are damaged, encrypted or made to confuse.
_UNREADABLE = (
    EOFError,
    RuntimeError,
    ValueError,
    OverflowError,
    zlib.error,
    tarfile.TarError,
    zipfile.BadZipFile,
)
_ARCHIVE = re.compile(r"\.(zip|tar|tar\.gz|tgz)$", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f\\]")


def default_name(path: Path) -> str:
    """Give the name of a submission whose team did not choose one: that of its folder."""
    return _ARCHIVE.sub("", path.resolve().name)


def read_files(
    path: Path, *, max_bytes: int = MAX_BYTES, only: Collection[str] | None = None
) -> list[SubmissionFile]:
    """Read the files of a submission.

    Hidden files, byte code and ``training_output/`` are left out. An archive may hold the files at
    its top or in one folder.

    Parameters
    ----------
    path : Path
        A folder, a ``.zip``, ``.tar``, ``.tar.gz`` or ``.tgz``.
    max_bytes : int
        The most that the files may hold together.
    only : collection of str, optional
        Of a folder these files alone are read; default: all.

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
            found = list(_bounded(_folder_files(path, only), max_bytes))
        else:
            found = _without_top_folder(list(_bounded(_archive_files(path, max_bytes), max_bytes)))
    except (OSError, *_UNREADABLE) as error:
        raise SubmissionRejectedError(f"{path} cannot be read: {error}") from error
    if not found:
        raise SubmissionRejectedError(f"{path} holds no files")
    return sorted(found, key=lambda file: file.path)


def _folder_files(
    root: Path, only: Collection[str] | None = None
) -> Iterator[tuple[str, IO[bytes]]]:
    for directory, names, files in os.walk(root):
        names[:] = sorted(name for name in names if not _is_ignored(name))
        for name in sorted([*files, *(n for n in names if (Path(directory) / n).is_symlink())]):
            if _is_ignored(name):
                continue
            path = Path(directory, name)
            inside = path.relative_to(root).as_posix()
            if only is not None and inside not in only:
                continue
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _not_plain(inside)
            with path.open("rb") as file:
                yield inside, file


def _archive_files(path: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    if not path.is_file():
        raise _no_archive(path)
    if path.stat().st_size > max_bytes + MAX_ENTRIES * _ENTRY_BYTES:
        raise _too_large(max_bytes)
    if zipfile.is_zipfile(path):
        yield from _zip_files(path, max_bytes)
    else:
        yield from _tar_files(path, max_bytes)


def _zip_files(path: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        _check_entries(len(members))
        n_declared = sum(one.file_size for one in members if not _is_ignored_path(one.filename))
        if n_declared > max_bytes:
            raise _too_large(max_bytes)
        _check_ratio(n_declared, path)
        for member in members:
            kind = stat.S_IFMT(member.external_attr >> 16)
            if member.is_dir() or _is_ignored_path(member.filename):
                continue
            if kind not in (0, stat.S_IFREG):
                raise _not_plain(member.filename)
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise SubmissionRejectedError(
                    f"{member.filename!r} is compressed in a way that is not read",
                    "Make the archive with `zip -r`",
                )
            with archive.open(member) as file:
                yield member.filename, file


def _tar_files(path: Path, max_bytes: int) -> Iterator[tuple[str, IO[bytes]]]:
    content = io.BytesIO(_tar_content(path, max_bytes))
    try:
        opened = tarfile.open(fileobj=content, mode="r:")  # noqa: SIM115  closed below
    except tarfile.ReadError as error:
        raise _no_archive(path) from error
    with opened as archive:
        for n_entries, member in enumerate(archive, start=1):
            _check_entries(n_entries)
            if member.isdir() or _is_ignored_path(member.name):
                continue
            file = archive.extractfile(member) if member.isreg() else None
            if file is None:
                raise _not_plain(member.name)
            with file:
                yield member.name, file


def _tar_content(path: Path, max_bytes: int) -> bytes:
    """Read a tar archive, decompressed, and never more of it than it may hold."""
    most = max_bytes + MAX_ENTRIES * _ENTRY_BYTES
    with path.open("rb") as raw:
        if raw.read(2) != b"\x1f\x8b":
            raw.seek(0)
            return raw.read(most)
        raw.seek(0)
        with gzip.GzipFile(fileobj=raw) as file:
            content = file.read(most + 1)
    _check_ratio(len(content), path)
    if len(content) > most:
        raise _too_large(max_bytes)
    return content


def _check_entries(n_entries: int) -> None:
    if n_entries > MAX_ENTRIES:
        raise SubmissionRejectedError(f"the archive has more than {MAX_ENTRIES} entries")


def _check_ratio(n_bytes: int, path: Path) -> None:
    """Refuse an archive that holds more than its size allows to believe."""
    if n_bytes > max(MIN_BOMB_BYTES, MAX_RATIO * path.stat().st_size):
        raise SubmissionRejectedError(
            f"the archive holds more than {MAX_RATIO} times its own size",
            "Submit the folder itself, if that is right",
        )


def _no_archive(path: Path) -> SubmissionRejectedError:
    return SubmissionRejectedError(
        f"{path} is neither a folder nor a .zip or .tar.gz archive",
        "Give the folder that holds the submission's files",
    )


def _too_large(max_bytes: int, hint: str = "") -> SubmissionRejectedError:
    return SubmissionRejectedError(f"its files hold more than {max_bytes / 2**20:g} MB", hint)


def _bounded(members: Iterator[tuple[str, IO[bytes]]], max_bytes: int) -> Iterator[SubmissionFile]:
    """Read the members, and refuse the submission as soon as it is too large."""
    n_bytes, paths = 0, set[str]()
    for name, file in members:
        path = _checked_path(name)
        content = file.read(max_bytes - n_bytes + 1)
        n_bytes += len(content)
        if n_bytes > max_bytes:
            raise _too_large(max_bytes, f"{path} is where the limit was passed")
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
    if len(path.parts) > MAX_DEPTH + 1:
        raise SubmissionRejectedError(f"{name!r} lies more than {MAX_DEPTH} folders deep")
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
