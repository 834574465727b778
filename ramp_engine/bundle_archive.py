"""The public half of a bundle as one file, on its way to the nodes.

The same bundle always makes the same bytes, so that a node finds it by its hash. It goes there in
parts, or lies in a store that both sides reach: a folder, S3, or whatever else fsspec knows.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import json
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ramp_engine import s3_objects
from ramp_engine.errors import TransportError, WorkerSetupError

__all__ = ["PART_BYTES", "BundleArchive", "BundleName", "open_stored", "pack", "read_part"]
__all__ += ["add_tree", "store", "unpack", "write_tar"]

#: A bundle travels in parts of this size.
PART_BYTES = 8 << 20
#: Stores where a new object appears as a whole, and renaming is copying.
_OBJECT_STORES = ("gs://", "gcs://", "abfs://", "abfss://", "az://")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class BundleName:
    """What a bundle is known by on the nodes."""

    name: str  #: the hash of its inputs
    sha256: str  #: of the archive
    n_bytes: int  #: of the archive

    @property
    def file_name(self) -> str:
        """The name of the archive in a store."""
        return f"{self.name}-{self.sha256[:12]}.tar"

    def to_json(self) -> dict[str, Any]:
        """Give what stands in requests."""
        return asdict(self)

    @classmethod
    def from_json(cls, said: Any) -> BundleName:
        """Read it from a request.

        Raises
        ------
        ValueError
            It is something else.
        """
        match said:
            case {"name": str(name), "sha256": str(sha256), "n_bytes": int(n_bytes)}:
                if name.isalnum() and sha256.isalnum() and n_bytes >= 0:
                    return cls(name, sha256, n_bytes)
        raise ValueError(f"no bundle: {said!r:.200}")


@dataclass(frozen=True)
class BundleArchive:
    """A bundle that was packed."""

    path: Path
    bundle: BundleName


def pack(public: Path, folder: Path) -> BundleArchive:
    """Pack the public half of a bundle, unless that was done before.

    Parameters
    ----------
    public : Path
        ``<hash>/public``.
    folder : Path
        Where archives are kept; made when missing.

    Returns
    -------
    BundleArchive

    Raises
    ------
    WorkerSetupError
        The disk refuses.

    Notes
    -----
    Takes as much room as the bundle. What appears in the folder is whole.
    """
    name = public.resolve().parent.name
    path, facts = folder / f"{name}.tar", folder / f"{name}.json"
    with contextlib.suppress(OSError, ValueError):
        bundle = BundleName.from_json(json.loads(facts.read_text()))
        if path.stat().st_size == bundle.n_bytes:
            return BundleArchive(path, bundle)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _appearing(path) as temporary:
            with temporary.open("wb") as file:
                write_tar(public, file)
            with temporary.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            bundle = BundleName(name, sha256, temporary.stat().st_size)
        with _appearing(facts) as temporary:
            temporary.write_text(json.dumps(bundle.to_json()))
    except OSError as error:
        raise WorkerSetupError(f"the bundle cannot be packed in {folder}: {error}") from error
    return BundleArchive(path, bundle)


def write_tar(folder: Path, file: IO[bytes], *, follow_links: bool = True) -> None:
    """Write a tar of a folder: names in order, no times, no owners.

    Parameters
    ----------
    folder : Path
    file : file
        Open for writing.
    follow_links : bool
        Whether what links lead to goes with it; else they are left out.

    Raises
    ------
    OSError
        Something cannot be read, or the disk refuses.
    """
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        add_tree(tar, folder, follow_links=follow_links)


def add_tree(
    tar: tarfile.TarFile,
    folder: Path,
    name: str = "",
    *,
    follow_links: bool,
    pattern: str = "*",
) -> None:
    """Add to a tar, under a name, what is in a folder and fits a pattern; as `write_tar` does."""
    for path in sorted(folder.rglob(pattern)):
        if path.is_symlink() and not follow_links:
            continue
        member = tarfile.TarInfo(Path(name, path.relative_to(folder)).as_posix())
        if path.is_dir():
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        elif path.is_file():
            member.size, member.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)


@contextlib.contextmanager
def _appearing(path: Path) -> Iterator[Path]:
    """Give the path of a file that takes its place when the block has succeeded."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_part(archive: BundleArchive, offset: int) -> bytes:
    """Read the part of an archive that begins at an offset; empty at the end.

    Raises
    ------
    TransportError
        The file is gone.
    """
    try:
        with archive.path.open("rb") as file:
            file.seek(offset)
            return file.read(PART_BYTES)
    except OSError as error:
        raise TransportError(f"{archive.path} cannot be read: {error}") from error


def store(archive: BundleArchive, where: str) -> str:
    """Put an archive into a store, unless it is there.

    Parameters
    ----------
    archive : BundleArchive
    where : str
        A folder, or a URL of S3 or of what fsspec knows.

    Returns
    -------
    str
        Where it is.

    Raises
    ------
    TransportError
        The store refuses.
    WorkerSetupError
        What is needed to reach it is not installed.
    """
    with _told(where):
        if "://" in where:
            return _store_by_url(archive, where)
        target = Path(where, archive.bundle.file_name)
        if not target.exists() or target.stat().st_size != archive.bundle.n_bytes:
            target.parent.mkdir(parents=True, exist_ok=True)
            with _appearing(target) as temporary:
                shutil.copyfile(archive.path, temporary)
        return str(target)


def _store_by_url(archive: BundleArchive, where: str) -> str:
    url = f"{where.rstrip('/')}/{archive.bundle.file_name}"
    if url.startswith(s3_objects.SCHEMES):
        if s3_objects.size_of_object(url) != archive.bundle.n_bytes:
            s3_objects.put_object(archive.path, url)
        return url
    system, target = _fsspec().core.url_to_fs(url)
    if system.exists(target) and system.size(target) == archive.bundle.n_bytes:
        return url
    if url.startswith(_OBJECT_STORES):
        system.put_file(str(archive.path), target)
        return url
    system.makedirs(system._parent(target), exist_ok=True)
    temporary = f"{target}.{os.getpid()}"
    system.put_file(str(archive.path), temporary)
    system.mv(temporary, target)
    return url


@contextlib.contextmanager
def open_stored(where: str, bundle: BundleName) -> Iterator[IO[bytes]]:
    """Open an archive in a store for reading.

    Raises
    ------
    TransportError
        It is not there, or the store refuses.
    WorkerSetupError
        What is needed to reach it is not installed.
    """
    with contextlib.ExitStack() as stack, _told(where):
        if "://" in where:
            url = f"{where.rstrip('/')}/{bundle.file_name}"
            is_s3 = url.startswith(s3_objects.SCHEMES)
            found = s3_objects.open_object(url) if is_s3 else _fsspec().open(url, "rb")
            file = stack.enter_context(found)
        else:
            file = stack.enter_context(Path(where, bundle.file_name).open("rb"))
        yield file


def unpack(file: IO[bytes], bundle: BundleName, target: Path) -> None:
    """Unpack an archive while it is read, and check that it is the right one.

    Parameters
    ----------
    file : file
        At the beginning of the archive.
    bundle : BundleName
        What it should be.
    target : Path
        Made; where this fails it is removed again.

    Raises
    ------
    TransportError
        It is something else, or holds what a bundle does not.
    OSError
        The disk refuses.
    """
    reader = _HashedReader(file, bundle.n_bytes)
    target.mkdir(mode=0o755)
    try:
        try:
            with tarfile.open(fileobj=reader, mode="r|", bufsize=_CHUNK) as tar:  # type: ignore[call-overload]
                for member in tar:
                    if not (member.isdir() or (member.isreg() and not member.issparse())):
                        raise TransportError(f"{member.name!r} in a bundle is no file")
                    tar.extract(member, target, filter="data")
        except tarfile.TarError as error:
            raise TransportError(f"the bundle {bundle.name} is damaged: {error}") from error
        reader.check(bundle)
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise


class _HashedReader:
    """A file that is hashed while it is read, up to a size."""

    def __init__(self, file: IO[bytes], n_bytes: int) -> None:
        self._file = file
        self._n_left = n_bytes
        self._hash = hashlib.sha256()

    def read(self, n_bytes: int) -> bytes:
        data = self._file.read(min(n_bytes, self._n_left))
        self._n_left -= len(data)
        self._hash.update(data)
        return data

    def check(self, bundle: BundleName) -> None:
        while self.read(_CHUNK):
            pass
        if self._n_left or self._hash.hexdigest() != bundle.sha256 or self._file.read(1):
            raise TransportError(
                f"what has come as the bundle {bundle.name} is not it: the hash differs"
            )


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    try:
        yield
    except (TransportError, WorkerSetupError):
        raise
    except ImportError as error:
        scheme = where.partition("://")[0]
        reason = f"a bundle_store with {scheme}:// needs a package that is missing: {error}"
        raise WorkerSetupError(reason, "It has to be here and on the nodes") from error
    except Exception as error:
        raise TransportError(f"the bundle_store {where} refuses: {error}") from error


def _fsspec() -> Any:
    try:
        return importlib.import_module("fsspec")
    except ImportError as error:
        reason = "a bundle_store with a URL needs fsspec, which is not installed"
        raise WorkerSetupError(reason, "pip install 'ramp-engine[dask]', or [ray]") from error
