"""The core of a gateway: runs of its clients become jobs of the engine, and what becomes of these.

One thread does everything here; clients and the engine post to its `Loop`.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ramp_engine.errors import TransportError, WorkerError
from ramp_engine.remote.engine import (
    Engine,
    EngineEvent,
    EngineFailed,
    Job,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
    NodeLeaving,
    NodeLost,
)
from ramp_engine.remote.gateway.clients import Client
from ramp_engine.remote.gateway.held_run import HeldRun
from ramp_engine.remote.gateway.jobs import Given, Jobs
from ramp_engine.remote.gateway.nodes import Nodes
from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.gateway.runs import Ended, Fold, Phase
from ramp_engine.remote.gateway.timers import Loop
from ramp_engine.remote.gateway.unwanted import Unwanted
from ramp_engine.remote.gateway.uploads import Uploads
from ramp_engine.remote.gateway.writing import Writer

__all__ = ["Core"]

logger = logging.getLogger(__name__)

#: How long the end of a run that was stopped waits for its processes to be gone, in seconds.
PATIENCE_SECONDS = 10.0
#: What comes with less than that is written at once, in bytes.
STAGED_BYTES = 1 << 20


class Core:
    """Run folds on an engine for clients.

    Parameters
    ----------
    engine : Engine
        It is entered already.
    requests : Requests
    nodes : Nodes
    uploads : Uploads
    loop : Loop
    config : mapping
        Of the worker.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        nodes: Nodes,
        uploads: Uploads,
        loop: Loop,
        config: Mapping[str, Any],
    ) -> None:
        self._engine, self._requests, self._nodes = engine, requests, nodes
        self._uploads, self._loop = uploads, loop
        self._max_folds = config.get("max_folds")
        self._adopt_within = float(config.get("adopt_within_seconds", 120.0))
        self._runs: dict[str, HeldRun] = {}  # oldest first
        self._hungry: dict[str, HeldRun] = {}  # those with folds that wait
        self._writer = Writer(loop.post)
        self._orders = itertools.count()
        self._jobs = Jobs(requests.lease)
        self._unwanted = Unwanted(engine, nodes, self._jobs)
        nodes.on_silent = self._give_up
        #: Called when a run is held no more.
        self.on_forgotten: Callable[[], None] = lambda: None
        #: Why the cluster is given up; None as long as it is not.
        self.failure: str | None = None

    # What clients ask for

    @property
    def n_runs(self) -> int:
        """Runs that are held, also those whose end nobody has taken yet."""
        return len(self._runs)

    def begin(self, held: HeldRun) -> None:
        """Run folds, when those of older runs are given to the engine.

        Raises
        ------
        KeyError
            A run of that name is held.
        """
        if held.name in self._runs:
            raise KeyError(held.name)
        self._runs[held.name] = held
        held.order = next(self._orders)
        self._hungry[held.name] = held
        packing = self._uploads.pack(held.bundle_dir)
        packing.add_done_callback(lambda _: self._loop.post(partial(self._packed, held)))
        held.packing = packing

    def find(self, name: str) -> HeldRun | None:
        """Give a run that is held; None when there is none."""
        return self._runs.get(name)

    def call_off(
        self,
        held: HeldRun,
        then: Callable[[], None] = lambda: None,
        how: Ended = Ended.CANCELED,
        *,
        is_forgotten: bool = True,
    ) -> None:
        """End a run; `then` is called when nothing of it is left on any node."""
        held.on_gone.append(then)
        held.is_forgotten = held.is_forgotten or is_forgotten
        held.run.stop(how)
        self._look_after(held)

    def orphan(self, client: Client) -> None:
        """Give runs time to be taken over, for their dispatcher is gone."""
        for held in self._runs.values():
            if held.client is client:
                logger.warning("run %s has no dispatcher any more", held.name)
                self.let_go(held)

    def let_go(self, held: HeldRun) -> None:
        """Give a run time to be taken over."""
        held.client = None
        self._loop.after(self._adopt_within, partial(self._abandon, held, held.holder))

    def abandon(self, client: Client) -> None:
        """End the runs of a client that leaves."""
        for held in [held for held in self._runs.values() if held.client is client]:
            self.call_off(held)

    def _abandon(self, held: HeldRun, holder: str) -> None:
        if held.client is None and held.holder == holder:
            logger.warning("nobody took over run %s: it is ended", held.name)
            held.is_abandoned = True
            self.call_off(held)

    # What the engine says

    def handle(self, event: EngineEvent) -> None:
        """See to an event of the engine; what nodes say may be anything, and ends no gateway."""
        try:
            self._handle(event)
        except Exception as error:  # the outermost loop
            logger.exception("an event makes no sense")
            if isinstance(event, JobSaid | JobEnded | JobLost):
                given = self._jobs.find(event.job)
                if given is not None:
                    self._unwanted.call_off(given, f"what its node says makes no sense: {error}")

    def _handle(self, event: EngineEvent) -> None:
        match event:
            case JobSaid():
                self._said(event)
            case JobEnded():
                self._keep(event)
            case JobLost():
                self._lost(event)
            case NodeLeaving(node=node, reason=reason):
                self._leave(node, reason)
            case NodeLost(node=node):
                self._nodes.forget(node)
            case EngineFailed(reason=reason):
                self.fail(reason)

    def fail(self, reason: str) -> None:
        """Give the cluster up: all runs are interrupted."""
        logger.error("the cluster is lost: %s", reason)
        self.failure = reason
        self._loop.end()

    def _said(self, event: JobSaid) -> None:
        given = self._jobs.find(event.job)
        if given is None:
            return
        given.node = event.node
        self._nodes.hear(event.node)
        if event.node not in self._nodes.names:
            self._nodes.look()
        fault = self._nodes.fault(event.node)
        if fault is not None:
            self._unwanted.call_off(given, fault)
        if given.is_called_off:
            self._unwanted.end(given)
            return
        header, held = event.frame.header, given.held
        match header.get("said"):
            case "started":
                self._started(given, header)
            case "log":
                held.log.stream(given.fold.number, int(header["offset"]), event.frame.payload)
            case "needs":
                self._uploads.bring(event.node, held.archive)
            case "leaving":
                self._leave(event.node, str(header.get("reason", "")))

    def _started(self, given: Given, header: Mapping[str, Any]) -> None:
        held = given.held
        held.tell(said="started", fold=given.fold.number, level=header.get("level"))
        if held.run.start(self._loop.clock()) and held.run.timeout_seconds is not None:
            self._loop.after(held.run.timeout_seconds, partial(self._time_is_up, held))

    def _time_is_up(self, held: HeldRun) -> None:
        held.run.stop(Ended.TIMEOUT)
        self._look_after(held)

    def _leave(self, node: str, reason: str) -> None:
        reason = reason or "its node is taken away"
        jobs = [given.job for given in self._jobs.on(node) if not given.leaving]
        for given in self._jobs.on(node):
            given.leaving = given.leaving or reason
        if jobs:
            logger.info("node %s is taken away (%s): %d folds are saved", node, reason, len(jobs))
            self._nodes.leave(node, jobs, reason)

    def _keep(self, event: JobEnded) -> None:
        """Take the end of a job when the large files that came with it are written."""
        given = self._jobs.find(event.job)
        if given is None or len(event.frame.payload) < STAGED_BYTES:
            self._ended(event)
            return
        files, fold = given.held.files, given.fold.number
        self._writer.do(partial(files.stage, fold, event.frame), partial(self._kept, event, given))

    def _kept(self, event: JobEnded, given: Given) -> None:
        self._ended(event)
        given.held.files.unstage(given.fold.number)
        self.fill()

    def _ended(self, event: JobEnded) -> None:
        job, frame = event.job, event.frame
        given = self._jobs.take(job)
        if given is None:
            return
        held, fold = given.held, given.fold
        if fold.job == job and fold.phase is Phase.GIVEN:
            if given.fault is not None and self._nodes.fault(event.node) and self._nodes.avoided:
                held.reclaim(fold, given.fault)  # there are nodes that do
            elif given.fault is not None:
                held.lose(fold, given.fault)
            else:
                now = self._loop.clock()
                held.take(fold, frame, now, leaving=given.leaving, node=event.node)
        elif fold.phase is Phase.DROPPED:
            held.keep_log(fold, frame)
        self._look_after(held)

    def _lost(self, event: JobLost) -> None:
        given = self._jobs.take(event.job)
        if given is None:
            return
        held, fold = given.held, given.fold
        if fold.job == event.job and fold.phase is Phase.GIVEN:
            logger.warning("fold %d of %s: %s", fold.number, held.name, event.reason)
            match event.loss:
                case Loss.RECLAIMED:
                    held.reclaim(fold, event.reason)
                case Loss.CLUSTER:
                    held.run.stop(Ended.INTERRUPTED, event.reason)
                case Loss.UNPLACED if not self._nodes.names:  # the cluster is away, or empty
                    held.run.stop(Ended.INTERRUPTED, event.reason)
                case Loss.UNPLACED:
                    held.run.stop(Ended.LOST, event.reason)
                case _:
                    held.lose(fold, given.fault or event.reason)
        self._look_after(held)

    # What follows

    def fill(self) -> None:
        """Give the engine folds, of the oldest run first, as many as may be in flight."""
        if self._writer.is_behind:
            return
        avoided = self._nodes.avoided if self._hungry else None
        for held in sorted(self._hungry.values(), key=lambda held: held.order):
            is_placed = held.run.node is not None
            while held.is_packed and (fold := held.run.next_fold(self._loop.clock())) is not None:
                if self._max_folds is not None and len(self._jobs) >= self._max_folds:
                    return
                if avoided is None and not is_placed:
                    break
                self._submit(held, fold, frozenset() if is_placed else avoided or frozenset())
            if not held.run.has_waiting:
                self._hungry.pop(held.name, None)

    def _submit(self, held: HeldRun, fold: Fold, avoid: frozenset[str]) -> None:
        given = self._jobs.make(held, fold)
        try:
            request = self._requests.fold(
                given.job,
                fold.number,
                held.archive.bundle,
                held.run.timeout_seconds,
                held.files.submission_parts(),
                held.files.checkpoint_parts(fold.number),
            )
            demands = self._requests.demands
            self._engine.submit(Job(given.job, request, demands, held.run.node, avoid))
        except (OSError, WorkerError) as error:
            self._jobs.take(given.job)
            held.run.stop(Ended.INTERRUPTED, str(error))
            self._look_after(held)

    def _packed(self, held: HeldRun) -> None:
        error = held.packing.exception()
        if error is not None:
            held.note_full(error)
        if isinstance(error, TransportError) or isinstance(error and error.__cause__, OSError):
            held.run.stop(Ended.INTERRUPTED, str(error))  # store or disk, that may be there again
        elif error is not None:
            held.run.stop(Ended.LOST, str(error))
        self._look_after(held)

    def _look_after(self, held: HeldRun) -> None:
        """See to what follows from a change of a run: for its folds, its client, and others."""
        self._unwanted.end_dropped(held)
        if held.run.end is not None and not held.is_told:
            is_gone = not self._jobs.of(held)
            if is_gone or held.run.end.how is Ended.DONE or held.has_waited:
                held.conclude()
            elif not held.is_waiting:
                held.is_waiting = True
                self._loop.after(PATIENCE_SECONDS, partial(self._no_longer, held))
        self._forget_gone(held)
        if not held.is_told and held.run.has_waiting:
            self._hungry[held.name] = held
        self._schedule(held)
        self.fill()

    def _no_longer(self, held: HeldRun) -> None:
        held.has_waited = True
        self._look_after(held)

    def _forget_gone(self, held: HeldRun) -> None:
        if not held.is_told or self._jobs.of(held):
            return
        held.tell_gone()
        if held.is_forgotten and self._runs.pop(held.name, None) is not None:
            self._hungry.pop(held.name, None)
            self.on_forgotten()

    def _schedule(self, held: HeldRun) -> None:
        """Come back to a run whose fold has to wait before it is tried again."""
        now = self._loop.clock()
        waiting = [
            fold.not_before - now
            for fold in held.run.folds.values()
            if fold.phase is Phase.WAITING and fold.not_before > now
        ]
        if waiting:
            self._loop.after(min(waiting), self.fill)

    def shun(self) -> None:
        """End the folds on nodes that turn out not to do, and go on where some will."""
        self._unwanted.shun()
        self.fill()

    def _give_up(self, node: str, why: str) -> list[str]:
        """Take as lost what runs on a node that hangs: nothing more is heard of it.

        Returns
        -------
        list of str
            The jobs.
        """
        given_up = self._jobs.on(node)
        for given in given_up:
            self._jobs.take(given.job)
            if given.fold.job == given.job and given.fold.phase is Phase.GIVEN:
                given.held.lose(given.fold, why)
        for held in {given.held.name: given.held for given in given_up}.values():
            self._look_after(held)
        return [given.job for given in given_up]

    # Leases

    def renew(self) -> None:
        """Renew the lease wherever there are folds, or may be."""
        self._nodes.renew(self._jobs.nodes())
