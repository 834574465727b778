"""One fold on a node, from its request to its last word."""

from __future__ import annotations

import contextlib
import logging
import platform
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ramp_engine.bundle_archive import BundleName
from ramp_engine.errors import RampError, WorkerSetupError
from ramp_engine.fold_process import FoldRun
from ramp_engine.gpus import GpuPool
from ramp_engine.remote.node import checkpoint
from ramp_engine.remote.node.bundles import BundleCache
from ramp_engine.remote.node.caller import Caller, CallerGoneError
from ramp_engine.remote.node.leftover import Leftover
from ramp_engine.remote.node.place import Place
from ramp_engine.remote.node.preparing import Preparations, Prepared
from ramp_engine.remote.node.refusal import Refusal, refused
from ramp_engine.remote.node.request import FoldRequest
from ramp_engine.remote.node.shelf import Shelf
from ramp_engine.sandbox import NONE
from ramp_engine.step_servers import WARM_UP_SECONDS, StepServers

__all__ = ["BUNDLE_SECONDS", "FoldJob", "Tools", "not_come"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: A bundle that has not come after so long does not come, in seconds.
BUNDLE_SECONDS = 600.0
#: Time between two pieces of a live log, and the largest piece, and of all pieces the most.
LOG_SECONDS, LOG_PIECE_BYTES, LOG_LIVE_BYTES = 0.25, 64 << 10, 1 << 20
#: One that has not begun may take so long to notice that it will not, in seconds.
END_SECONDS = 15.0
#: Time between two looks whether a fold server is warm, in seconds.
WARM_SECONDS = 0.1

#: How a fold was ended from outside; a later one counts only when it is further to the right.
RECLAIMED, LEASE, CANCELED, GONE = "reclaimed", "lease", "canceled", "gone"
_RANKS = ("", RECLAIMED, LEASE, CANCELED, GONE)


@dataclass(frozen=True)
class Tools:
    """What the folds of an agent share."""

    place: Place
    preparations: Preparations
    bundles: BundleCache
    shelf: Shelf
    gpus: GpuPool


class _EndedError(Exception):
    """It was ended before it began."""


class FoldJob:
    """A fold that was asked for.

    Parameters
    ----------
    request : FoldRequest
    caller : Caller
    tools : Tools
    """

    def __init__(self, request: FoldRequest, caller: Caller, tools: Tools) -> None:
        self.request = request
        self._caller = caller
        self._tools = tools
        self._lock = threading.Lock()
        self._ending = threading.Lock()
        self._end = ""  # how it was ended from outside
        self._notice = ""
        self._run: FoldRun | None = None  # once it has been started
        self._over = threading.Event()
        self._seconds = time.monotonic()

    def end(self, how: str) -> bool:
        """End the fold; tell whether its tree is gone. From any thread."""
        run = self._mark(how)
        return self._over.wait(END_SECONDS) if run is None else self._end_tree(run)

    def leave(self, seconds: float) -> bool:
        """Let the fold save what it likes for so long, and end it; as `end`."""
        run = self._mark(RECLAIMED)
        if run is None or run.process is None:
            return self._over.wait(END_SECONDS)
        run.ask_to_leave()
        run.process.wait(seconds)
        return self._end_tree(run)

    def notice(self, reason: str) -> None:
        """Have the caller told that the node is about to go. From any thread."""
        self._notice = reason
        self._caller.wake()

    def wait(self, seconds: float) -> bool:
        """Wait until nothing of the fold is left; tell whether that is so."""
        return self._over.wait(seconds)

    def _mark(self, how: str) -> FoldRun | None:
        with self._lock:
            self._end = max(self._end, how, key=_RANKS.index)
            self._caller.wake()
            return self._run

    def _end_tree(self, run: FoldRun) -> bool:
        with self._ending:
            return run.end()

    def work(self) -> None:
        """Do it, up to the last word. Once, in a thread of its own."""
        try:
            with contextlib.ExitStack() as stack:
                self._work(stack)
        except CallerGoneError:
            logger.info("%s ends: its caller is gone", self.request.job)
        finally:
            self._over.set()

    def _work(self, stack: contextlib.ExitStack) -> None:
        try:
            run = self._begin(stack)
        except _EndedError:
            self._refuse(self._end, "", "it was ended before it began")
            return
        except Refusal as refusal:
            self._refuse("refused", refusal.kind, str(refusal))
            return
        self._follow(run)
        self._end_tree(run)
        try:
            self._tell(run)
        except OSError as error:
            told = refused(error, run.scratch.root)
            self._refuse("refused", told.kind, str(told))

    def _refuse(self, how: str, kind: str, message: str) -> None:
        header = {"how": how, "returncode": None, "result": None, "level": "", "kind": kind}
        self._caller.say_last(header | {"message": message, "facts": self._facts()}, {})

    def _begin(self, stack: contextlib.ExitStack) -> FoldRun:
        """Make everything ready and start the fold.

        Raises
        ------
        Refusal
            That is impossible.
        _EndedError
            It was ended before.
        """
        request, tools = self.request, self._tools
        prepared = self._await(tools.preparations.get(request.spec.raw))
        stack.enter_context(tools.bundles.using(request.bundle))
        bundle = self._bundle(time.monotonic() + BUNDLE_SECONDS)
        gpus = self._gpus(stack)
        try:
            tools.place.open_to(self._passing_uid(prepared))
            run = FoldRun(prepared.python, tools.place.runs)
            stack.callback(run.remove)
            stack.callback(self._end_tree, run)
            submission = _write_submission(request.files, run.scratch.root / "submission")
            kept = run.scratch.root / "checkpoint"
            sandbox = prepared.sandbox
            checkpoint.restore(request.checkpoint, kept, sandbox.uid, sandbox.gid)
            n_threads = request.spec.n_threads
            servers = stack.enter_context(tools.shelf.using(prepared, n_threads, bundle))
            self._warm(servers, bundle)
            self._start(run, prepared, bundle, submission, kept, gpus, servers)
        except (RampError, OSError) as error:
            raise refused(error, tools.place.runs) from error
        self.level = prepared.sandbox.level
        self._caller.say("started", level=self.level, pid=run.process.pid if run.process else 0)
        return run

    @staticmethod
    def _passing_uid(prepared: Prepared) -> int | None:
        """Give the user that passes through our folders, where it has no mounts of its own."""
        return None if prepared.sandbox.level == "namespaces" else prepared.sandbox.uid

    def _start(
        self,
        run: FoldRun,
        prepared: Prepared,
        bundle: Path,
        submission: Path,
        kept: Path,
        gpus: tuple[str, ...],
        servers: StepServers | None,
    ) -> None:
        request = self.request
        access = self._tools.gpus.access(gpus, is_confined=prepared.sandbox.level != NONE)
        spec = prepared.spec(request.spec.memory_mb, request.n_slots)
        with self._lock:
            if self._end:
                raise _EndedError
            run.start(
                bundle=bundle,
                submission=submission,
                n_threads=request.spec.n_threads,
                sandbox=spec | {"read": [*spec["read"], *access.read], "devices": access.devices},
                gpus=access.visible,
                timeout_seconds=request.timeout_seconds,
                on_end=self._caller.wake,
                servers=servers,
                folds=[request.fold],
                checkpoint=kept,
            )
            self._run = run

    def _await(self, future: Future[T], until: float | None = None) -> T:
        """Wait for something that is made elsewhere.

        Raises
        ------
        Refusal
            It cannot be made.
        TimeoutError
            It takes too long.
        """
        future.add_done_callback(lambda _: self._caller.wake())
        while not future.done():
            self._look()
            if until is not None and time.monotonic() > until:
                raise TimeoutError
            self._caller.wait(1.0)
        self._look()
        return future.result()

    def _look(self) -> None:
        """Act upon what has come from outside before it began."""
        if self._end:
            raise _EndedError
        self._tell_notice()

    def _tell_notice(self) -> None:
        if self._notice:
            reason, self._notice = self._notice, ""
            self._caller.say("leaving", reason=reason)

    def _bundle(self, until: float) -> Path:
        spec, bundle = self.request.spec, self.request.bundle
        arrival = self._tools.bundles.arrival(bundle, spec.bundle_store, spec.max_bundle_bytes)
        if not arrival.done() and spec.bundle_store is None:
            self._caller.say("needs", bundle=bundle.to_json())
        try:
            return self._await(arrival, until)
        except TimeoutError as error:
            raise not_come(bundle) from error

    def _gpus(self, stack: contextlib.ExitStack) -> tuple[str, ...]:
        wanted = self.request.gpus
        if isinstance(wanted, tuple):
            return wanted
        try:
            taken = self._tools.gpus.take(wanted, self.request.visible_gpus)
        except RampError as error:
            kind = "setup" if isinstance(error, WorkerSetupError) else "busy"
            raise Refusal(kind, str(error)) from error
        stack.callback(self._tools.gpus.give_back, taken)
        return taken

    def _warm(self, servers: StepServers | None, bundle: Path) -> None:
        """Wait for a server that gets warm, as long as it is worth it."""
        server = None if servers is None else servers.prepare(bundle)
        until = time.monotonic() + WARM_UP_SECONDS
        while server is not None and not server.has_failed and time.monotonic() < until:
            if server.wait(0.0):
                return
            self._look()
            self._caller.wait(WARM_SECONDS)

    def _follow(self, run: FoldRun) -> None:
        """Stand by the run until it has ended, and show its log meanwhile."""
        n_shown = 0
        while run.returncode is None:
            self._caller.wait(LOG_SECONDS)
            self._tell_notice()
            n_shown += self._show(run, n_shown)
        while shown := self._show(run, n_shown):
            n_shown += shown

    def _show(self, run: FoldRun, offset: int) -> int:
        """Show the next piece of the log; give its size."""
        room = min(LOG_PIECE_BYTES, LOG_LIVE_BYTES - offset)
        if room <= 0:
            return 0
        with run.scratch.log.open("rb") as log:
            log.seek(offset)
            piece = log.read(room)
        if piece:
            self._caller.say("log", piece, offset=offset)
        return len(piece)

    def _tell(self, run: FoldRun) -> None:
        leftover = Leftover(run, self.request.fold)
        header = leftover.header(self._end) | {"level": self.level}
        header["facts"] = self._facts() | {"is_warm": run.is_warm}
        message, saved = "", {}
        if header["how"] == RECLAIMED:
            try:
                leftover.check_unreleased()
                saved = checkpoint.list_files(run.scratch.root / "checkpoint")
            except checkpoint.CheckpointError as error:
                message = str(error)
        header.setdefault("message", message)
        self._caller.say_last(header, leftover.files(saved))

    def _facts(self) -> dict[str, Any]:
        seconds = round(time.monotonic() - self._seconds, 3)
        return {"hostname": platform.node(), "seconds": seconds}


def not_come(bundle: BundleName) -> Refusal:
    """Say that a bundle has not come in time, as from a store that hangs."""
    reason = f"the bundle {bundle.name} has not come after {BUNDLE_SECONDS:g} s"
    return Refusal("bundle", reason)


def _write_submission(files: Mapping[str, memoryview], folder: Path) -> Path:
    folder.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(content)
    return folder
