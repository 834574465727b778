"""An engine in a process of its own, as in the gateway: it may be killed, or be ended by Ray."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

from ramp_engine.errors import RampError
from ramp_engine.remote.engine import Demands, EngineEvent, Job, JobEnded, JobLost, Node
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.ray.engine import RayEngine

__all__ = ["EngineProcess"]

#: A loaded machine may take so long for anything that is waited for, in seconds.
PATIENCE_SECONDS = 90.0
_Event = TypeVar("_Event", bound=EngineEvent)


class EngineProcess:
    """A Ray engine that is used from outside of its process.

    Parameters
    ----------
    config : mapping
        The ``worker`` section.

    Raises
    ------
    RuntimeError
        What entering the engine has raised, in its words.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.events: list[EngineEvent] = []
        self._news = threading.Condition()
        self._answers: dict[int, Future[Any]] = {}
        self._numbers = itertools.count()
        self._has_ended = False
        spawn = multiprocessing.get_context("spawn")
        self._ours, theirs = spawn.Pipe()
        self.process = spawn.Process(target=_serve, args=(theirs, dict(config)), daemon=True)
        self.process.start()
        theirs.close()
        entered = self._answers[next(self._numbers)] = Future()
        threading.Thread(target=self._listen, daemon=True).start()
        entered.result(PATIENCE_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def submit(self, name: str, demands: Demands | None = None, **options: Any) -> None:
        """Submit a job; options beside `node` and `payload` go into the request."""
        node, payload = options.pop("node", None), options.pop("payload", b"")
        avoid = options.pop("avoid", frozenset())
        job = Job(name, Frame(options, payload), demands or Demands(), node, avoid)
        self.ask("submit", job)

    def nodes(self, demands: Demands | None = None) -> dict[str, Node]:
        """Give the nodes by their label ``name``."""
        found: list[Node] = self.ask("nodes", demands or Demands())
        return {node.facts["labels"]["name"]: node for node in found}

    def call(self, node: str, header: dict[str, Any], payload: bytes = b"") -> Future[Frame]:
        return self._send("call", node, Frame(header, payload))

    def ask(self, method: str, *arguments: Any) -> Any:
        return self._send(method, *arguments).result(PATIENCE_SECONDS)

    def of(self, job: str) -> list[EngineEvent]:
        """Give what was told of a job."""
        with self._news:
            return [event for event in self.events if getattr(event, "job", None) == job]

    def end_of(self, job: str) -> JobEnded | JobLost:
        """Wait for the end of a job."""
        self.wait_for(lambda events: any(_ends(event, job) for event in events))
        (end,) = [event for event in self.of(job) if isinstance(event, JobEnded | JobLost)]
        return end

    def first(self, kind: type[_Event]) -> _Event:
        """Wait for an event of a kind."""
        self.wait_for(lambda events: any(isinstance(event, kind) for event in events))
        return next(event for event in self.events if isinstance(event, kind))

    def wait_for(self, condition: Callable[[list[EngineEvent]], bool]) -> None:
        with self._news:
            until = time.monotonic() + PATIENCE_SECONDS
            while not condition(self.events):
                left = until - time.monotonic()
                assert left > 0, self.events
                assert not self._has_ended, ("the process has ended", self.events)
                self._news.wait(left)

    def leave(self) -> None:
        """Leave the engine, and wait for the end of its process."""
        with contextlib.suppress(BrokenPipeError):  # it has ended
            self._ours.send((next(self._numbers), "leave", ()))
        self.process.join(PATIENCE_SECONDS)
        is_left = not self.process.is_alive()
        self.kill()
        assert is_left

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def _send(self, method: str, *arguments: Any) -> Future[Any]:
        number = next(self._numbers)
        answer = self._answers[number] = Future()
        self._ours.send((number, method, arguments))
        return answer

    def _listen(self) -> None:
        try:
            while True:
                number, found = self._ours.recv()
                if number is None:
                    with self._news:
                        self.events.append(found)
                        self._news.notify_all()
                elif isinstance(found, BaseException):
                    self._answers[number].set_exception(found)
                else:
                    self._answers[number].set_result(found)
        except (EOFError, OSError):
            with self._news:
                self._has_ended = True
                self._news.notify_all()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(RuntimeError("the process has ended"))


def _ends(event: EngineEvent, job: str) -> bool:
    return isinstance(event, JobEnded | JobLost) and event.job == job


def _serve(channel: Connection, config: dict[str, Any]) -> None:
    lock = threading.Lock()

    def tell(number: int | None, found: Any) -> None:
        with lock:
            channel.send((number, found))

    def answer(number: int, given: Future[Any]) -> None:
        error = given.exception()
        tell(number, RuntimeError(str(error)) if error else given.result())

    try:
        with RayEngine(config, lambda event: tell(None, event), "tests.remote.ray_entry") as engine:
            tell(0, None)
            while (command := channel.recv())[1] != "leave":
                number, method, arguments = command
                found = getattr(engine, method)(*arguments)
                if isinstance(found, Future):
                    found.add_done_callback(lambda given, number=number: answer(number, given))
                else:
                    tell(number, found)
    except RampError as error:
        tell(0, RuntimeError(f"{type(error).__name__}: {error}"))
