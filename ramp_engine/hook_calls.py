"""The calls of an event's hooks: waiting in memory, made one after another in a process apart.

Whoever tells something never waits. What cannot be told is told in the log.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ramp_engine.config_hooks import HookConfig
from ramp_engine.hook_host import HookHost, HookLostError
from ramp_engine.hooks import CallName, Told

__all__ = ["HookCalls"]

logger = logging.getLogger(__name__)

#: So many calls may wait.
MAX_WAITING = 1000
#: How long a hook may take to be imported and made, in seconds.
LOAD_SECONDS = 60.0
#: A hook that hung, or ended its process, so many times in a row is left alone for a while.
MAX_LOST = 3
#: How long, in seconds.
PAUSE_SECONDS = 300.0
#: How long the end of a dispatcher waits for the calls that are left, in seconds.
LAST_CALLS_SECONDS = 10.0


class _Waiting(NamedTuple):
    """A call that is to be made."""

    hook: HookConfig
    call: CallName
    told: Told


class HookCalls:
    """Make the calls of the hooks of one event, in a thread and a process of their own.

    Both begin with the first call. A block around the work of a dispatcher; at its end the calls
    that are left are made, for `LAST_CALLS_SECONDS` at most.

    Parameters
    ----------
    hooks : sequence of HookConfig
    directory : Path
        The event's folder.
    """

    def __init__(self, hooks: Sequence[HookConfig], directory: Path) -> None:
        self._hooks = hooks
        self._directory = directory
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._is_ending = self._is_over = False
        self._thread: threading.Thread | None = None
        self._host: HookHost | None = None
        self._loaded: dict[str, frozenset[str]] = {}  # what the process has made: calls by hook
        self._left_out: set[str] = set()  # hooks that cannot be loaded
        self._n_lost: dict[str, int] = {}  # how often in a row, by hook
        self._not_before: dict[str, float] = {}  # monotonic seconds, by hook

    def __enter__(self) -> Self:
        """Begin; nothing is started before there is something to tell."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Make the calls that are left, for a while, and end the process."""
        with self._changed:
            self._is_ending = True
            self._changed.notify()
        if self._thread is None:
            return
        self._thread.join(LAST_CALLS_SECONDS)
        with self._changed:
            for waiting in self._waiting:
                self._drop(waiting, "the dispatcher ends")
            self._waiting.clear()
            self._is_over, host = True, self._host
        if host is not None:
            host.end()  # and with it the call that is under way
        self._thread.join()

    def tell(self, call: CallName, told: Told) -> None:
        """Have each hook told that wants to know; never waits."""
        with self._changed:
            for hook in self._hooks:
                waiting = _Waiting(hook, call, told)
                if call not in hook.calls or hook.name in self._left_out:
                    continue
                if len(self._waiting) >= MAX_WAITING:
                    self._drop(waiting, f"{MAX_WAITING} calls wait already")
                    continue
                self._waiting.append(waiting)
            if self._waiting and self._thread is None:
                self._thread = threading.Thread(target=self._work, name="hooks", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _drop(self, waiting: _Waiting, reason: str) -> None:
        logger.warning("a hook is not told: %s", reason, extra=_extra(waiting))

    def _work(self) -> None:
        try:
            while (waiting := self._next()) is not None:
                self._attend(waiting)
        except Exception:
            logger.exception("no hook is told anything any more")
        finally:
            self._end_host()

    def _next(self) -> _Waiting | None:
        """Wait for the next call; None: there will be none."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_ending)
            return self._waiting.popleft() if self._waiting else None

    def _attend(self, waiting: _Waiting) -> None:
        hook = waiting.hook
        if hook.name in self._left_out:
            return
        if time.monotonic() < self._not_before.get(hook.name, 0.0):
            self._drop(waiting, "the last ones hung or ended their process; it is left alone")
            return
        try:
            if waiting.call in self._calls_of(hook):
                self._make(waiting)
                self._n_lost[hook.name] = 0
        except (HookLostError, OSError) as error:  # the latter: no room for another process
            self._lose(waiting, error)
        except Exception:  # around a hook: its keys may be what JSON does not know
            logger.exception("a hook is left out", extra=_extra(waiting))
            self._left_out.add(hook.name)

    def _calls_of(self, hook: HookConfig) -> frozenset[str]:
        """Load a hook, unless the process has; give the calls that it implements."""
        if self._host is None:
            host = HookHost(self._directory)
            with self._changed:
                self._host = host
            if self._is_over:
                host.end()
        if hook.name not in self._loaded:
            question = {"load": hook.name, "hook_type": hook.hook_type, "config": dict(hook.keys)}
            answer = self._host.ask(question, LOAD_SECONDS)
            if "error" in answer:
                extra = {"hook": hook.name, "printed": self._host.output}
                logger.error("a hook is left out: %s", answer["error"], extra=extra)
                self._left_out.add(hook.name)
            self._loaded[hook.name] = frozenset(answer.get("calls", ()))
        return self._loaded[hook.name]

    def _make(self, waiting: _Waiting) -> None:
        hook, call, told = waiting
        assert self._host is not None  # noqa: S101  the hook was loaded
        question = {"call": call, "name": hook.name, "told": told.to_json()}
        answer = self._host.ask(question, hook.timeout_seconds)
        extra = _extra(waiting) | {"printed": self._host.output}
        if "error" in answer:
            words = f"{answer['error']}\n{answer['traceback']}".rstrip()
            logger.warning("a hook failed: %s", words, extra=extra)
        else:
            logger.info("a hook was told", extra=extra)

    def _lose(self, waiting: _Waiting, error: Exception) -> None:
        """End a process that does not answer; the next call has another one."""
        name = waiting.hook.name
        printed = "" if self._host is None else self._host.output
        extra = _extra(waiting) | {"printed": printed}
        logger.error("a hook hung or ended its process: %s", error, extra=extra)
        self._end_host()
        self._n_lost[name] = self._n_lost.get(name, 0) + 1
        if self._n_lost[name] >= MAX_LOST:
            self._not_before[name] = time.monotonic() + PAUSE_SECONDS

    def _end_host(self) -> None:
        with self._changed:
            host, self._host = self._host, None
        self._loaded.clear()
        if host is not None:
            host.close()


def _extra(waiting: _Waiting) -> dict[str, object]:
    return {
        "event": waiting.told.event,
        "submission": waiting.told.submission_id,
        "attempt": waiting.told.attempt,
        "hook": waiting.hook.name,
        "call": waiting.call,
    }
