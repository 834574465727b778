"""The bundles that have come to a node, the least recently used of which go when there are many."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from ramp_engine.bundle_archive import BundleName, open_stored, unpack
from ramp_engine.errors import TransportError, WorkerSetupError
from ramp_engine.remote.node.refusal import Refusal, refused

__all__ = ["BundleCache"]

logger = logging.getLogger(__name__)

#: How names begin of what has not come as a whole.
_UPLOAD, _UNPACKING = ".upload-", ".unpacking-"


class BundleCache:
    """The bundles of one agent.

    Parameters
    ----------
    folder : Path
        Where they are; what was left incomplete there is removed.
    held : callable
        Lists the folders that fold servers hold.
    """

    def __init__(self, folder: Path, held: Callable[[], Collection[Path]]) -> None:
        self._folder = folder
        self._held = held
        self._lock = threading.Lock()
        self._upload = threading.Lock()
        self._arrivals: dict[BundleName, Future[Path]] = {}
        self._n_uses: Counter[Path] = Counter()
        folder.mkdir(exist_ok=True)
        for path in folder.glob(".*"):
            _remove(path)

    def find(self, bundle: BundleName) -> Path | None:
        """Give the folder of a bundle, which counts as used; None when it has not come."""
        path = self._path(bundle)
        try:
            os.utime(path)
        except OSError:
            return None
        return path

    @contextlib.contextmanager
    def using(self, bundle: BundleName) -> Iterator[None]:
        """Keep a bundle within the block, from the moment on when it comes."""
        path = self._path(bundle)
        with self._lock:
            self._n_uses[path] += 1
        try:
            yield
        finally:
            with self._lock:
                self._n_uses[path] -= 1

    def arrival(self, bundle: BundleName, store: str | None, max_bytes: int) -> Future[Path]:
        """Tell of the coming of a bundle, which is fetched where there is a store.

        Returns
        -------
        Future
            Raises `Refusal` when it cannot come.
        """
        with self._lock:
            arrival = self._arrivals.get(bundle)
            if arrival is None:
                arrival = self._arrivals[bundle] = Future()
                if (found := self.find(bundle)) is not None:
                    self._arrivals.pop(bundle).set_result(found)
                elif store is not None:
                    arguments = (bundle, store, max_bytes)
                    threading.Thread(target=self._fetch, args=arguments, daemon=True).start()
        return arrival

    def take(self, bundle: BundleName, offset: int, part: bytes, max_bytes: int) -> dict[str, Any]:
        """Take a part of a bundle.

        Parameters
        ----------
        bundle : BundleName
        offset : int
            Where the part begins; it is left where it is unless all before it has come.
        part : bytes
            May be empty.
        max_bytes : int
            So much all bundles may take that nobody uses, with those that are used.

        Returns
        -------
        dict
            ``have``: so many bytes have come; ``done`` when it is there.

        Raises
        ------
        Refusal
            The disk refuses, or what has come is something else: it starts anew.
        """
        with self._upload:
            if self.find(bundle) is not None:
                return {"have": bundle.n_bytes, "done": True}
            upload = self._folder / f"{_UPLOAD}{bundle.file_name}"
            with self._refusing(bundle):
                have = _append(upload, offset, part, bundle.n_bytes)
                if have < bundle.n_bytes:
                    return {"have": have}
                try:
                    with upload.open("rb") as file:
                        self._keep(file, bundle, max_bytes)
                finally:
                    upload.unlink(missing_ok=True)
            return {"have": bundle.n_bytes, "done": True}

    def _fetch(self, bundle: BundleName, store: str, max_bytes: int) -> None:
        with (
            contextlib.suppress(Refusal),
            self._refusing(bundle),
            self._upload,
            open_stored(store, bundle) as file,
        ):
            self._keep(file, bundle, max_bytes)

    @contextlib.contextmanager
    def _refusing(self, bundle: BundleName) -> Iterator[None]:
        """Tell those who wait for a bundle, too, why it does not come."""
        try:
            yield
        except (OSError, TransportError, WorkerSetupError) as error:
            is_wrong = isinstance(error, TransportError)
            refusal = refused(error, self._folder)
            if is_wrong and refusal.kind != "disk":
                refusal = Refusal("bundle", str(error))
            logger.warning("the bundle %s does not come: %s", bundle.name, refusal)
            with self._lock:
                arrival = self._arrivals.pop(bundle, None)
            if arrival is not None:
                arrival.set_exception(refusal)
            raise refusal from error

    def _keep(self, file: Any, bundle: BundleName, max_bytes: int) -> None:
        self._make_room(max_bytes - bundle.n_bytes)
        path = self._path(bundle)
        unpacking = path.with_name(f"{_UNPACKING}{path.name}")
        unpack(file, bundle, unpacking)
        unpacking.rename(path)
        with self._lock:
            arrival = self._arrivals.pop(bundle, None)
        if arrival is not None:
            arrival.set_result(path)

    def _make_room(self, max_bytes: int) -> None:
        """Remove bundles that nobody uses, the longest unused first, until few enough are left."""
        held = set(self._held())
        paths = [path for path in self._folder.iterdir() if not path.name.startswith(".")]
        sizes = {path: _size(path) for path in paths}
        total = sum(sizes.values())
        for path in sorted(paths, key=lambda path: path.stat().st_mtime):
            with self._lock:
                if total <= max_bytes:
                    break
                if path in held or self._n_uses[path]:
                    continue
                path = path.rename(path.with_name(f".{path.name}"))
            total -= sizes[path.with_name(path.name[1:])]
            _remove(path)
            logger.info("removed %s to make room", path)

    def _path(self, bundle: BundleName) -> Path:
        return self._folder / bundle.file_name.removesuffix(".tar")


def _append(upload: Path, offset: int, part: bytes, n_bytes: int) -> int:
    """Append what comes next, and give how much there is by then."""
    try:
        with upload.open("ab") as file:
            have = file.tell()
            if offset == have and have + len(part) <= n_bytes:
                file.write(part)
                have += len(part)
    except OSError:
        upload.unlink(missing_ok=True)  # of a part that did not fit nothing is known
        raise
    return have


def _size(folder: Path) -> int:
    """Add up the sizes of the files, which their archive was a little larger than, in bytes."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
