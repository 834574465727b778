"""What an agent does for those who ask: the operations, and the folds that run."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

from ramp_engine.bundle_archive import BundleName
from ramp_engine.fold_process import remove_tree
from ramp_engine.gpus import GpuPool
from ramp_engine.remote.frames import Frame, send
from ramp_engine.remote.node import notices
from ramp_engine.remote.node.bundles import BundleCache
from ramp_engine.remote.node.caller import Caller
from ramp_engine.remote.node.facts import facts_of_node
from ramp_engine.remote.node.fold import BUNDLE_SECONDS, CANCELED, LEASE, FoldJob, Tools, not_come
from ramp_engine.remote.node.leases import Leases
from ramp_engine.remote.node.place import Place
from ramp_engine.remote.node.preparing import Preparations
from ramp_engine.remote.node.refusal import Refusal
from ramp_engine.remote.node.request import FoldRequest, Spec
from ramp_engine.remote.node.shelf import Shelf
from ramp_engine.step_servers import WARM_UP_SECONDS

__all__ = ["Service"]

logger = logging.getLogger(__name__)

#: What was canceled before it came is refused for so long, in seconds.
CANCELED_SECONDS = 900.0
#: How long a fold that was ended may take for its last word, in seconds.
END_SECONDS = 45.0


class Service:
    """The work of one agent.

    Parameters
    ----------
    place : Place
        Locked by this process: what others have left there is removed.
    """

    def __init__(self, place: Place) -> None:
        for path in (place.runs, place.servers):
            path.mkdir(exist_ok=True)
        for path in place.runs.iterdir():
            remove_tree(path)
        shelf = Shelf(place.servers)
        bundles = BundleCache(place.bundles, shelf.bundles)
        self.leases = Leases()
        self._place = place
        self._tools = Tools(place, Preparations(place), bundles, shelf, GpuPool.found())
        self._lock = threading.Lock()
        self._jobs: dict[str, FoldJob] = {}
        self._canceled: dict[str, float] = {}
        self._notice = ""
        notices.watch(self._tell_notice)

    @property
    def is_idle(self) -> bool:
        """Whether there is neither a lease nor a fold."""
        return not self.leases and not self._jobs

    @property
    def has_jobs(self) -> bool:
        """Whether there is a fold."""
        return bool(self._jobs)

    def answer(
        self, channel: socket.socket, request: Frame, may_end: Callable[[bool], bool]
    ) -> bool:
        """Do what is asked for, to the end.

        Parameters
        ----------
        channel : socket
            Where the answer goes.
        request : Frame
        may_end : callable
            Decides whether the agent ends now, which nobody may need any more; told whether
            another one takes its place.

        Returns
        -------
        bool
            Whether the agent should end now.

        Raises
        ------
        OSError
            Nobody hears the answer any more.
        """
        header = request.header
        if header["op"] in ("release", "replace"):
            is_replaced = header["op"] == "replace"
            if not is_replaced:
                self._release(str(header["lease"]))
            is_ending = may_end(is_replaced)
            if is_ending:
                self._tools.shelf.close()
            send(channel, {"is_ending": is_ending})
            return is_ending
        self.leases.renew(str(header["lease"]), float(header.get("lease_seconds", 60)))
        if header["op"] == "fold":
            self._fold(channel, request)
            return False
        try:
            answer = self._operations[header["op"]](self, request)
        except Refusal as refusal:
            answer = {"error": str(refusal), "kind": refusal.kind}
        send(channel, answer)
        return False

    def _fold(self, channel: socket.socket, request: Frame) -> None:
        with contextlib.closing(Caller(channel)) as caller:
            self._run_fold(caller, request)

    def _run_fold(self, caller: Caller, request: Frame) -> None:
        try:
            job = FoldJob(FoldRequest.of(request), caller, self._tools)
            self._enter(job)
        except Refusal as refusal:
            how = CANCELED if refusal.kind == CANCELED else "refused"
            nothing: dict[str, Any] = {"returncode": None, "result": None, "level": "", "facts": {}}
            said = {"how": how, "kind": refusal.kind, "message": str(refusal)}
            caller.say_last(nothing | said, {})
            return
        try:
            job.work()
        finally:
            with self._lock:
                del self._jobs[job.request.job]

    def _enter(self, job: FoldJob) -> None:
        name = job.request.job
        with self._lock:
            if name in self._canceled:
                raise Refusal(CANCELED, "it was canceled before it came")
            if name in self._jobs:
                raise Refusal("busy", f"{name} runs on this node already")
            self._jobs[name] = job
            if self._notice:
                job.notice(self._notice)

    def _tell_notice(self, reason: str) -> None:
        with self._lock:
            self._notice = reason
            for job in self._jobs.values():
                job.notice(reason)

    def _cancel(self, request: Frame) -> dict[str, Any]:
        names = [str(name) for name in request.header.get("jobs") or []]
        now = time.monotonic()
        with self._lock:
            self._canceled |= dict.fromkeys(names, now)
            old = [name for name, at in self._canceled.items() if now - at > CANCELED_SECONDS]
            for name in old:
                del self._canceled[name]
            jobs = [self._jobs[name] for name in names if name in self._jobs]
        return {"ended": _ended(jobs, lambda job: job.end(CANCELED))}

    def _leave(self, request: Frame) -> dict[str, Any]:
        header = request.header
        names = header.get("jobs")
        with self._lock:
            jobs = [
                job
                for name, job in self._jobs.items()
                if job.request.lease == header["lease"] and (names is None or name in names)
            ]
        seconds = float(header.get("seconds", 0))
        return {"ended": _ended(jobs, lambda job: job.leave(seconds))}

    def _renew(self, request: Frame) -> dict[str, Any]:
        lease = request.header["lease"]
        with self._lock:
            jobs = [name for name, job in self._jobs.items() if job.request.lease == lease]
        return {"jobs": jobs}

    def _release(self, lease: str) -> None:
        self.leases.release(lease)
        self.end_jobs([lease], CANCELED)

    def end_jobs(self, leases: Iterable[str], how: str) -> None:
        """End all folds of some leases, and wait for that."""
        wanted = set(leases)
        with self._lock:
            jobs = [job for job in self._jobs.values() if job.request.lease in wanted]
        _ended(jobs, lambda job: job.end(how))
        for job in jobs:
            job.wait(END_SECONDS)

    def look_after(self) -> None:
        """End what is not wanted any more. To be called now and then."""
        lapsed = self.leases.take_lapsed()
        if lapsed:
            logger.warning("nobody has renewed the leases %s: their folds end", lapsed)
            threading.Thread(target=self.end_jobs, args=(lapsed, LEASE), daemon=True).start()
        self._tools.shelf.close_idle()

    def close(self) -> None:
        """End everything."""
        with self._lock:
            jobs = list(self._jobs.values())
        _ended(jobs, lambda job: job.end(LEASE))
        self._tools.shelf.close()

    def _bundle(self, request: Frame) -> dict[str, Any]:
        spec, header = Spec.of(request.header), request.header
        offset, part = int(header.get("offset", 0)), request.payload
        bundle = _bundle_of(request)
        return self._tools.bundles.take(bundle, offset, part, spec.max_bundle_bytes)

    def _info(self, request: Frame) -> dict[str, Any]:
        preparing = self._tools.preparations.get(Spec.of(request.header).raw)
        return {"facts": facts_of_node(self._place, self._tools.gpus, preparing)}

    def _warm(self, request: Frame) -> dict[str, Any]:
        spec, bundle = Spec.of(request.header), _bundle_of(request)
        prepared = self._tools.preparations.get(spec.raw).result()
        with self._tools.bundles.using(bundle):
            arrival = self._tools.bundles.arrival(bundle, spec.bundle_store, spec.max_bundle_bytes)
            if not arrival.done() and spec.bundle_store is None:
                return {"is_warm": False, "needs": True}
            path = _arrived(arrival, bundle)
            with self._tools.shelf.using(prepared, spec.n_threads, path) as servers:
                server = None if servers is None else servers.prepare(path)
                is_warm = server is not None and server.wait(WARM_UP_SECONDS)
        return {"is_warm": is_warm, "needs": False}

    _operations: ClassVar[dict[str, Callable[[Service, Frame], dict[str, Any]]]] = {
        "cancel": _cancel,
        "leave": _leave,
        "renew": _renew,
        "bundle": _bundle,
        "info": _info,
        "warm": _warm,
    }


def _arrived(arrival: Future[Path], bundle: BundleName) -> Path:
    try:
        return arrival.result(BUNDLE_SECONDS)
    except TimeoutError as error:
        raise not_come(bundle) from error


def _bundle_of(request: Frame) -> BundleName:
    try:
        return BundleName.from_json(request.header.get("bundle"))
    except ValueError as error:
        raise Refusal("bundle", str(error)) from error


def _ended(jobs: list[FoldJob], end: Callable[[FoldJob], bool]) -> list[str]:
    """End folds side by side; list those of which no process is left."""
    if not jobs:
        return []
    with ThreadPoolExecutor(len(jobs)) as pool:
        are_gone = list(pool.map(end, jobs))
    return [job.request.job for job, is_gone in zip(jobs, are_gone, strict=True) if is_gone]
