"""What the gateway knows of nodes, and what it asks their agents beside folds."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ramp_engine.errors import WorkerError
from ramp_engine.evaluation.plan import LEVELS
from ramp_engine.remote.engine import Engine, Node
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.gateway.pulses import Pulses
from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.gateway.versions import Versions

__all__ = ["Nodes", "Post"]

logger = logging.getLogger(__name__)

#: A node that has not answered for so many times the length of a lease holds no folds of ours.
PATIENCE_LEASES = 1.25

#: Has something done by the gateway's core, from any thread.
Post = Callable[[Callable[[], None]], None]


@dataclass
class _Known:
    """One node."""

    node: Node
    facts: dict[str, Any] = field(default_factory=dict)  #: empty until its agent has answered
    fault: str | None = None  #: why it gets no folds
    is_asked: bool = False


class Nodes:
    """The nodes of a cluster.

    Parameters
    ----------
    engine : Engine
    requests : Requests
    versions : Versions
        Of this machine.
    post : callable
        All methods run in the core's thread, and answers come back to it.
    clock : callable
        Monotonic seconds.
    """

    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        versions: Versions,
        post: Post,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._versions = versions
        self._post = post
        self._pool = ThreadPoolExecutor(1, "nodes")
        self._known: dict[str, _Known] = {}
        self._touched: set[str] = set()
        self._lookers: list[Callable[[], None]] = []  # those who wait for the list under way
        self._pulses = Pulses(PATIENCE_LEASES * requests.lease_seconds, clock)
        self._owed: dict[str, list[str]] = {}  # jobs that a node is told to end when it answers
        #: Takes a node that does not answer, and why; gives the jobs that are given up for it.
        self.on_silent: Callable[[str, str], list[str]] = lambda *_: []
        self.on_change: Callable[[], None] = lambda: None
        self.on_answer: Callable[[], None] = lambda: None

    # What is known

    def fault(self, name: str) -> str | None:
        """Tell why a node gets no folds; None when nothing speaks against it."""
        known = self._known.get(name)
        return None if known is None else known.fault

    @property
    def faults(self) -> list[str]:
        """What is wrong with nodes, in words."""
        return [known.fault for known in self._known.values() if known.fault]

    @property
    def has_fitting(self) -> bool:
        """Whether nothing speaks against some node."""
        return any(not known.fault for known in self._known.values())

    @property
    def avoided(self) -> frozenset[str] | None:
        """The nodes that get no folds; None: no other is there, and one of them may answer again.

        Where no node goes with this machine none is avoided: folds that come there say why.
        """
        silent = self._pulses.silent & self._known.keys()
        avoided = silent | {name for name, known in self._known.items() if known.fault}
        if len(avoided) < len(self._known):
            return frozenset(avoided)
        return None if silent else frozenset()

    @property
    def is_complete(self) -> bool:
        """Whether all nodes that are there have told of themselves, or cannot just now."""
        return all(
            known.facts or known.fault or not known.is_asked for known in self._known.values()
        )

    @property
    def level(self) -> str | None:
        """The weakest confinement on any node; None while none has told."""
        levels = [known.facts.get("level") for known in self._known.values() if not known.fault]
        found = [LEVELS.index(level) for level in levels if level in LEVELS]
        return LEVELS[max(found)] if found else None

    @property
    def environment(self) -> str:
        """Name what folds on the nodes depend on: packages, Python, confinement."""
        fitting = [known for known in self._known.values() if known.facts and not known.fault]
        kinds = {_kind(known.facts) for known in fitting}
        return hashlib.sha256("\n".join(sorted(kinds)).encode()).hexdigest()[:16] if kinds else ""

    def to_json(self) -> list[dict[str, Any]]:
        """Give all for people: the engine's facts, the agent's, and what is wrong."""
        return [
            {
                "name": known.node.name,
                "host": known.node.host,
                "n_slots": known.node.n_slots,
                "n_free": known.node.n_free,
                "is_leaving": known.node.is_leaving,
                "facts": {**known.node.facts, **known.facts},
                "fault": known.fault,
            }
            for known in self._known.values()
        ]

    # Asking

    def look(self, then: Callable[[], None] = lambda: None) -> None:
        """List the nodes again, and ask new ones of themselves; answers come later.

        Where no fold fits nobody is asked: an agent there costs the node, and serves nothing.
        """
        self._lookers.append(then)
        if len(self._lookers) > 1:
            return
        listing = self._pool.submit(self._engine.nodes, self._requests.demands)
        listing.add_done_callback(lambda done: self._post(partial(self._listed, done)))

    def _listed(self, listing: Future[list[Node]]) -> None:
        lookers, self._lookers = self._lookers, []
        self._take_list(listing)
        for tell in lookers:
            tell()

    def _take_list(self, listing: Future[list[Node]]) -> None:
        try:
            nodes = listing.result()
        except WorkerError as error:
            logger.warning("the nodes cannot be listed: %s", error)
            return
        known = self._known
        self._known = {node.name: known.get(node.name) or _Known(node) for node in nodes}
        for node in nodes:
            self._known[node.name].node = node
            if node.n_slots and not self._known[node.name].is_asked:
                self._known[node.name].is_asked = True
                self._ask_of_itself(node.name)
        if gone := known.keys() - self._known.keys():
            for name in gone & self._pulses.silent:
                self.forget(name)
            self.on_change()

    def _ask_of_itself(self, name: str) -> None:
        self.ask(name, self._requests.make("info"), partial(self._told, name))

    def _told(self, name: str, answer: Frame | WorkerError) -> None:
        known = self._known.get(name)
        if known is None:
            return
        if isinstance(answer, WorkerError):
            known.is_asked = False  # it is asked again with the next look
            logger.warning("node %s does not tell of itself: %s", name, answer)
        elif _is_being_made(answer):
            logger.info("node %s still makes the environment of the folds", name)
            self._ask_of_itself(name)
        else:
            self._note(known, answer)
            self.on_change()
        self.on_answer()

    def _note(self, known: _Known, answer: Frame) -> None:
        name, refusal = known.node.name, answer.header.get("error")
        facts = answer.header.get("facts")
        known.facts = facts if isinstance(facts, dict) else {}
        try:
            if not (refusal or known.facts):
                raise ValueError("there are no facts")
            known.fault = (
                f"node {name}: {refusal}" if refusal else self._versions.fault(name, known.facts)
            )
        except (AttributeError, TypeError, ValueError) as error:
            known.facts, known.fault = {}, f"node {name} tells nonsense of itself: {error}"
        if known.fault:
            logger.warning("%s", known.fault)

    def ask(
        self, name: str, request: Frame, then: Callable[[Frame | WorkerError], None] | None = None
    ) -> None:
        """Ask the agent of a node; `then` is told its answer, or what went wrong, by the core."""
        self._touched.add(name)
        future = self._engine.call(name, request)
        if then is not None:
            future.add_done_callback(lambda done: self._post(lambda: then(_answer(done))))

    def cancel(self, name: str, jobs: Collection[str]) -> None:
        """Have jobs ended on a node; their own end is told by the engine."""
        self.ask(name, self._requests.make("cancel", jobs=list(jobs)))

    def leave(self, name: str, jobs: Collection[str], reason: str) -> None:
        """Have jobs saved and ended, for the node is taken away."""
        seconds = self._requests.checkpoint_seconds
        request = self._requests.make("leave", jobs=list(jobs), reason=reason, seconds=seconds)
        self.ask(name, request)

    def renew(self, names: Iterable[str] | None) -> None:
        """Renew the lease on nodes; None: on all where there may be folds.

        Silent ones are asked as well.
        """
        for name in set(self.with_slots if names is None else names) | self._pulses.silent:
            if self._pulses.ask(name):
                self.ask(name, self._requests.make("renew"), partial(self._renewed, name))
        self._post(self._look_for_silent)  # when the answers that are there have been heard

    def _renewed(self, name: str, answer: Frame | WorkerError) -> None:
        self._pulses.failed(name)
        if not isinstance(answer, WorkerError):
            self.hear(name)

    def hear(self, name: str) -> None:
        """Note that a node is alive: folds of a silent one are ended there, and it gets others."""
        if self._pulses.heard(name):
            logger.info("node %s answers again", name)
            if jobs := self._owed.pop(name, []):
                self.cancel(name, jobs)
            self.on_change()

    def _look_for_silent(self) -> None:
        for name in self._pulses.fallen():
            seconds = self._pulses.patience_seconds
            why = f"node {name} has not answered for {seconds:g} s: it hangs, or its disk does"
            logger.warning("%s", why)
            self._owed[name] = self.on_silent(name, why)
            self.on_change()

    def forget(self, name: str) -> None:
        """Take a node as gone; one that comes again under its name is asked anew."""
        self._touched.discard(name)
        self._pulses.forget(name)
        self._owed.pop(name, None)
        if self._known.pop(name, None) is not None:
            self.on_change()

    @property
    def names(self) -> list[str]:
        """Those that are there."""
        return list(self._known)

    @property
    def with_slots(self) -> list[str]:
        """Those of them that a fold fits on; not a head without cores, for one."""
        return [name for name, known in self._known.items() if known.node.n_slots]

    def release(self, patience_seconds: float) -> None:
        """End all that is ours on every node that was touched, and wait for it, but so long."""
        there = self._touched & self._known.keys()
        calls = [self._engine.call(name, self._requests.make("release")) for name in there]
        wait(calls, patience_seconds)
        self._pool.shutdown(wait=False, cancel_futures=True)


def _is_being_made(answer: Frame) -> bool:
    facts = answer.header.get("facts")
    return isinstance(facts, dict) and bool(facts.get("is_being_made"))


def _answer(done: Future[Frame]) -> Frame | WorkerError:
    if done.cancelled():
        return WorkerError("the question was taken back")
    error = done.exception()
    if error is None:
        return done.result()
    return error if isinstance(error, WorkerError) else WorkerError(f"{error}")


def _kind(facts: dict[str, Any]) -> str:
    named = ("fold_python", "python", "level", "packages")
    return json.dumps({name: facts.get(name) for name in named}, sort_keys=True)
