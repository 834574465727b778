"""Bundles on their way to nodes, part by part, few at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ramp_engine import bundle_archive
from ramp_engine.bundle_archive import BundleArchive
from ramp_engine.errors import TransportError, WorkerError
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.gateway.nodes import Nodes, Post
from ramp_engine.remote.gateway.requests import Requests

__all__ = ["Uploads"]

logger = logging.getLogger(__name__)

#: So many uploads at once: each has a part in memory.
MAX_UPLOADS = 4
#: So often an upload is begun again when the node does not answer.
MAX_TRIES = 3
#: So often a node may say that nothing more has come.
MAX_STILL = 3
#: How long a store may take, in seconds, and the least that it has to take in a second, in bytes.
STORE_SECONDS, STORE_BYTES = 300.0, 1 << 20


class _Upload(NamedTuple):
    node: str
    archive: BundleArchive


@dataclass
class _Progress:
    n_tries: int = 1
    have: int = -1  #: the most that had come, in bytes
    n_still: int = 0  #: so often it was no more than that

    def note(self, have: int) -> None:
        """Note what a node has.

        Raises
        ------
        TransportError
            It says the same again and again.
        """
        self.n_still = 0 if have > self.have else self.n_still + 1
        self.have = max(have, self.have)
        if self.n_still > MAX_STILL:
            raise TransportError(f"it takes no more than {self.have} bytes")


class Uploads:
    """Pack bundles, and bring them to the nodes that need them.

    Parameters
    ----------
    nodes : Nodes
    requests : Requests
    folder : Path
        Where packed bundles are kept.
    bundle_store : str or None
        Where they lie for the nodes to fetch them; None: they are sent.
    post : callable
        Answers come to the core.
    store_seconds : float
        So long a store may take for a small bundle.
    """

    def __init__(
        self,
        nodes: Nodes,
        requests: Requests,
        folder: Path,
        bundle_store: str | None,
        post: Post,
        store_seconds: float = STORE_SECONDS,
    ) -> None:
        self._nodes, self._requests, self._post = nodes, requests, post
        self._folder, self._store = folder, bundle_store
        self._store_seconds = store_seconds
        self._storing: dict[Path, Future[None]] = {}
        self._pool = ThreadPoolExecutor(1, "packing")
        self._packing: dict[Path, Future[BundleArchive]] = {}
        self._queue: deque[_Upload] = deque()
        self._running: dict[_Upload, _Progress] = {}
        self._to_warm: set[_Upload] = set()  # the node is asked once more when it is there

    def pack(self, public: Path) -> Future[BundleArchive]:
        """Have a bundle packed, and stored where there is a store; once.

        Returns
        -------
        Future
            Raises `WorkerError`.
        """
        known = self._packing.get(public)
        if known is None or (known.done() and not _is_there(known)):
            known = self._packing[public] = self._pool.submit(self._pack, public)
        return known

    def _pack(self, public: Path) -> BundleArchive:
        archive = bundle_archive.pack(public, self._folder)
        if self._store is not None:
            self._put(archive, self._store)
        return archive

    def _put(self, archive: BundleArchive, store: str) -> None:
        """Put a bundle into the store, which may hang: a later call waits for the same try.

        Raises
        ------
        TransportError
            It refuses, or does not answer in time.
        WorkerSetupError
            What is needed to reach it is not installed.
        """
        storing = self._storing.get(archive.path)
        if storing is None or storing.done():
            storing = self._storing[archive.path] = Future()
            put = partial(_fulfil, storing, partial(bundle_archive.store, archive, store))
            threading.Thread(target=put, name="storing", daemon=True).start()
        seconds = self._store_seconds + archive.bundle.n_bytes / STORE_BYTES
        try:
            storing.result(seconds)
        except TimeoutError as error:
            reason = f"the bundle_store {store} has not taken the bundle in {seconds:.0f} s"
            raise TransportError(reason) from error

    def bring(self, node: str, archive: BundleArchive) -> None:
        """Bring a bundle to a node, unless it is on its way."""
        upload = _Upload(node, archive)
        if self._store is None and upload not in self._running and upload not in self._queue:
            self._queue.append(upload)
            self._go_on()

    def warm(self, archive: BundleArchive) -> None:
        """Bring a bundle where folds fit, and have started there what they are forked from."""
        request = self._requests.make("warm", bundle=archive.bundle.to_json())
        for node in self._nodes.with_slots:
            self._nodes.ask(node, request, partial(self._warmed, node, archive))

    def _warmed(self, node: str, archive: BundleArchive, answer: Frame | WorkerError) -> None:
        if not isinstance(answer, WorkerError) and answer.header.get("needs"):
            self._to_warm.add(_Upload(node, archive))
            self.bring(node, archive)

    def _go_on(self) -> None:
        while self._queue and len(self._running) < MAX_UPLOADS:
            upload = self._queue.popleft()
            self._running[upload] = _Progress()
            self._send(upload, 0, b"")  # how much is there?

    def _send(self, upload: _Upload, offset: int, part: bytes) -> None:
        request = self._requests.make(
            "bundle", part, bundle=upload.archive.bundle.to_json(), offset=offset
        )
        self._nodes.ask(upload.node, request, partial(self._answered, upload))

    def _answered(self, upload: _Upload, answer: Frame | WorkerError) -> None:
        try:
            if isinstance(answer, WorkerError):
                raise answer
            if answer.header.get("error"):
                raise TransportError(str(answer.header["error"]))
            if answer.header.get("done"):
                self._end(upload)
                self._warm_at_last(upload)
                return
            offset = int(answer.header.get("have", 0))
            self._running[upload].note(offset)
            self._send(upload, offset, bundle_archive.read_part(upload.archive, offset))
        except (WorkerError, ValueError, TypeError, ArithmeticError) as error:
            self._failed(upload, error)

    def _warm_at_last(self, upload: _Upload) -> None:
        """Have the servers started that waited for a bundle, unless folds have them started."""
        if upload in self._to_warm:
            self._to_warm.discard(upload)
            request = self._requests.make("warm", bundle=upload.archive.bundle.to_json())
            self._nodes.ask(upload.node, request)

    def _failed(self, upload: _Upload, error: Exception) -> None:
        logger.warning("the bundle does not come to node %s: %s", upload.node, error)
        n_tries = self._running[upload].n_tries
        self._running[upload] = _Progress(n_tries + 1)
        if n_tries == MAX_TRIES or upload.node not in self._nodes.names:
            self._end(upload)
        else:
            self._send(upload, 0, b"")

    def _end(self, upload: _Upload) -> None:
        del self._running[upload]
        self._go_on()


def _fulfil(future: Future[None], put: Callable[[], object]) -> None:
    try:
        put()
    except WorkerError as error:
        future.set_exception(error)
    else:
        future.set_result(None)


def _is_there(packed: Future[BundleArchive]) -> bool:
    return packed.exception() is None and packed.result().path.exists()
