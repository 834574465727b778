"""A fold parent: one of several processes that each stand by a fold at the same time.

::

    fold step ── parent of fold 0 ── fold 0 and all that it starts
              └─ parent of fold 1 ── fold 1 and all that it starts

It is forked from the fold step and does for its one fold what the fold step does where folds run
one after another. No code of the participant runs in it. What it has for the logs, and the result,
it sends through pipes: the logs themselves are the fold step's.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Optional

from . import linux, privileges, supervise
from .diagnosis import step
from .failure import KitError, one_line
from .log_aside import LogAside
from .log_pump import Log, Logs
from .stopping import StopSignal

#: Runs one fold: its number, where it prints, the wish that it ends; the result.
Work = Callable[[int, Logs, StopSignal], dict[str, Any]]

#: What is read at once, and in one turn [bytes].
_CHUNK, _TURN = 1 << 16, 1 << 20


@dataclass(frozen=True)
class Asides:
    """What is kept aside of the logs of one fold."""

    public: LogAside
    private: LogAside

    def close(self) -> None:
        """Forget it. May be called again."""
        self.public.close()
        self.private.close()


class FoldParentError(Exception):
    """A fold parent has failed, or was killed: the fold has no verdict."""


class FoldParent:
    """A fold parent, seen from the fold step. It is there from now on.

    Parameters
    ----------
    number : int
        Of the fold.
    work : callable
        What it does.
    asides : Asides
        Where what it has for the logs is kept until `go_live`.

    Raises
    ------
    ConfinementError
        The machine refuses.
    """

    def __init__(self, number: int, work: Work, asides: Asides) -> None:
        self.number = number
        self.has_ended = False
        self.result: Optional[dict[str, Any]] = None  #: as of `fold.run_folds`; None: an error
        self.error: Optional[Exception] = None
        self._asides = asides
        self._report = bytearray()
        with step("open the pipes of a fold"):
            pipes = [os.pipe() for _ in range(3)]
        writers = [writer for _, writer in pipes]
        self.pid = _fork(number, work, writers)
        for descriptor in writers:
            os.close(descriptor)
        self.descriptors = {reader for reader, _ in pipes}  #: where there may be something to hear
        for descriptor in self.descriptors:
            os.set_blocking(descriptor, False)
        self._public, self._private, report = (reader for reader, _ in pipes)
        self._sinks: dict[int, Callable[[bytes], object]] = {
            self._public: asides.public.write,
            self._private: asides.private.write,
            report: self._report.extend,
        }

    @property
    def has_failed(self) -> bool:
        """Whether it has ended, and its fold is not done as it should."""
        return self.has_ended and not self.has_tested

    @property
    def has_tested(self) -> bool:
        """Whether its fold is done as it should."""
        return self.result is not None and self.result["state"] == "tested"

    def go_live(self, logs: Logs) -> None:
        """Append what was kept aside to the logs, and from now on what comes."""
        self._asides.public.move_to(logs.public)
        self._asides.private.move_to(logs.private)
        self._sinks |= {self._public: logs.public.write, self._private: logs.private.write}

    def hear(self, descriptor: int, n_bytes: int = _TURN) -> None:
        """Take what there is to read, about so much in this turn."""
        while n_bytes > 0:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                self._close(descriptor)
                return
            self._sinks[descriptor](data)
            n_bytes -= len(data)

    def ask_to_end(self) -> None:
        """Have it end its fold, if it has not ended."""
        if not self.has_ended:
            os.kill(self.pid, signal.SIGTERM)

    def look(self) -> bool:
        """Tell whether it has ended, in whatever way."""
        patience = os.WNOHANG if self.descriptors else 0  # it hangs up when it ends
        self.has_ended = self.has_ended or os.waitpid(self.pid, patience)[0] != 0
        return self.has_ended

    def hear_out(self) -> None:
        """Take all that it has sent, when nothing of its fold is there any more."""
        for descriptor in list(self.descriptors):
            self.hear(descriptor, sys.maxsize)
        try:
            self.result, self.error = _understood(self.number, json.loads(self._report))
        except (ValueError, TypeError, KeyError):
            reason = f"the process that stood by fold {self.number} has died"
            self.error = FoldParentError(reason)

    def close(self) -> None:
        """Close what is open, and forget what was kept aside. May be called again."""
        for descriptor in list(self.descriptors):
            self._close(descriptor)
        self._asides.close()

    def _close(self, descriptor: int) -> None:
        self.descriptors.remove(descriptor)
        os.close(descriptor)


def _understood(
    number: int, report: dict[str, Any]
) -> tuple[Optional[dict[str, Any]], Optional[Exception]]:
    """Return the result of a fold, or the error that its parent has met."""
    if "kit" in report:
        kit = report["kit"]
        return None, KitError(kit["message"], kit["hint"], kit["traceback"])
    if "bug" in report:
        return None, FoldParentError(f"fold {number}: {report['bug']}")
    return report["result"], None


def _fork(number: int, work: Work, writers: Sequence[int]) -> int:
    """Start a fold parent; SIGTERM reaches it when it notices."""
    sys.stdout.flush()
    sys.stderr.flush()
    above = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with step("start the process that stands by a fold"):
            pid = os.fork()
        if pid == 0:
            _be_parent(number, work, writers, above)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    return pid


def _be_parent(number: int, work: Work, writers: Sequence[int], above: int) -> NoReturn:
    try:
        linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() == above:
            privileges.close_all_but({0, 1, 2, *writers})
            supervise.become_subreaper()
            _stand_by(number, work, *writers)
    except BaseException:  # noqa: BLE001 (the outermost frame of a process)
        traceback.print_exc()
    finally:
        os._exit(0)


def _stand_by(number: int, work: Work, public: int, private: int, report: int) -> None:
    logs = Logs(Log(public), Log(private))
    with StopSignal() as stop:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        said = _report(number, work, logs, stop)
        with open(report, "w", encoding="utf-8") as file:
            json.dump(said, file)
        os._exit(0)  # within the block: no signal comes between the report and the end


def _report(number: int, work: Work, logs: Logs, stop: StopSignal) -> dict[str, Any]:
    try:
        return {"result": work(number, logs, stop)}
    except KitError as error:
        return {"kit": error.to_json()}
    except Exception as error:  # noqa: BLE001 (the fold step raises it again)
        logs.say(traceback.format_exc())
        return {"bug": one_line(error)}
