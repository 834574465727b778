"""A run that a gateway holds: its state, its files, its log, and whom to tell."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from ramp_engine.bundle_archive import BundleArchive
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.gateway.clients import Client
from ramp_engine.remote.gateway.run_files import RunFiles, parts_of
from ramp_engine.remote.gateway.run_log import RunLog
from ramp_engine.remote.gateway.runs import Ended, Fold, Run, Verdict
from ramp_engine.room import find_full

__all__ = ["HeldRun"]

logger = logging.getLogger(__name__)

#: Refusals of a node that may have passed a little later, or on another node.
_PASSING = ("disk", "busy", "bundle")
#: What comes of an answer that is none.
_NONSENSE = (ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RecursionError)


class HeldRun:
    """A run, and what it needs.

    Parameters
    ----------
    run : Run
    files : RunFiles
    log : RunLog
    bundle_dir : Path
        The public half of the event's bundle.
    client : Client
        Told what becomes of the run.
    holder : str
        Names the worker that holds the run; that of an earlier one has no say any more.
    """

    def __init__(
        self,
        run: Run,
        files: RunFiles,
        log: RunLog,
        bundle_dir: Path,
        client: Client,
        holder: str,
    ) -> None:
        self.run, self.files, self.log, self.bundle_dir = run, files, log, bundle_dir
        self.client: Client | None = client
        self.holder = holder
        self.packing: Future[BundleArchive] = Future()
        self.on_gone: list[Callable[[], None]] = []
        self.order = 0  #: when it came
        self.is_told = False
        self.is_waiting = self.has_waited = False
        self.is_forgotten = self.is_abandoned = False
        self._full: Path | None = None

    @property
    def name(self) -> str:
        """Of the run."""
        return self.run.name

    @property
    def is_called_off(self) -> bool:
        """Whether somebody asked for its end, so that nobody can take it over."""
        return self.run.end is not None and self.run.end.how is Ended.CANCELED

    @property
    def is_packed(self) -> bool:
        """Whether its bundle is ready to be sent."""
        return self.packing.done() and self.packing.exception() is None

    @property
    def archive(self) -> BundleArchive:
        """Its bundle, when `is_packed`."""
        return self.packing.result()

    def tell(self, **header: Any) -> None:
        """Say something to the client, where there is one."""
        if self.client is not None:
            self.client.send({"run": self.name, **header})

    def take(self, fold: Fold, frame: Frame, now: float, leaving: str = "", node: str = "") -> None:
        """Note what a fold has ended with on a node, and keep what it has left."""
        header = frame.header
        message = str(header.get("message") or "")
        try:
            match header.get("how"):
                case "done":
                    self._done(fold, frame)
                case "timeout":
                    self._settle_log(fold, frame)
                    self.run.stop(Ended.TIMEOUT)
                case "reclaimed" | "canceled":
                    self._reclaimed(fold, frame, leaving or message or "its node is taken away")
                case "refused" if header.get("kind") in _PASSING:
                    why = f"node {node}: {message}"
                    self.log.restart(fold.number, why)
                    self.run.refuse(fold, why, now)
                case "refused":
                    self.run.stop(Ended.LOST, f"node {node}: {message}")
                case "lease":
                    self.lose(fold, "its node has heard nothing of this machine for too long")
                case _:
                    self.lose(fold, message or "the processes that ran it have died")
        except OSError as error:  # of this machine: neither node nor participant are to blame
            self.note_full(error)
            self.run.stop(Ended.INTERRUPTED, f"what a fold has left cannot be kept: {error}")
        except _NONSENSE as error:  # of the node
            self.lose(fold, f"what it has left makes no sense: {error}")

    def note_full(self, error: BaseException) -> None:
        """Note the folder without room, where that is what an error says: nobody goes on there."""
        self._full = self._full or find_full(error, self.files.scratch.root)

    def keep_log(self, fold: Fold, frame: Frame) -> None:
        """Keep the log of a fold that was ended with its run."""
        with contextlib.suppress(ValueError):
            if not self.is_told:
                self._settle_log(fold, frame)

    def lose(self, fold: Fold, why: str) -> None:
        """Note that a fold is lost."""
        self.log.note(fold.number, f"fold {fold.number} is lost: {why}\n")
        self.run.lose(fold, why)

    def reclaim(self, fold: Fold, why: str) -> None:
        """Have a fold begun again whose node was taken away before it could say anything."""
        if self.run.reclaim(fold, why):
            self.log.restart(fold.number, why)

    def conclude(self) -> None:
        """Write what is left to write, and tell the end."""
        assert self.run.end is not None  # noqa: S101  only called then
        self.is_told = True
        self.log.finish()
        try:
            self.files.write_result(self.run.result())
        except OSError as error:
            logger.warning("the result of %s cannot be written: %s", self.name, error)
            self.note_full(error)
            self._interrupt(f"the result of the run cannot be written: {error}")
        except (ValueError, RecursionError) as error:
            logger.warning("the result of %s makes no sense: %s", self.name, error)
        self.files.forget_submission()
        self.tell(said="ended", **self.end_json())

    def _interrupt(self, why: str) -> None:
        """Have a run that is done not count: without its result it looks as if the code failed."""
        end = self.run.end
        if end is not None and end.how is Ended.DONE:
            self.run.end = replace(end, how=Ended.INTERRUPTED, message=why)

    def end_json(self) -> dict[str, Any]:
        """Give the end as clients are told it; empty before."""
        if not self.is_told or self.run.end is None:
            return {}
        end = self.run.end
        full = None if self._full is None or end.how is not Ended.INTERRUPTED else str(self._full)
        told = {"how": end.how, "returncode": end.returncode, "message": end.message}
        return told if full is None else told | {"full": full}

    def tell_gone(self) -> None:
        """Tell that nothing of it runs any more, and remove what nobody else removes."""
        if self.is_abandoned:
            self.files.remove()
        waiting, self.on_gone = self.on_gone, []
        for then in waiting:
            then()

    def _done(self, fold: Fold, frame: Frame) -> None:
        header = frame.header
        result = header.get("result")
        verdict = Verdict(
            int(header.get("returncode") or 0), result if isinstance(result, dict) else None
        )
        files = parts_of(frame)
        self.files.write_outputs(fold.number, files)
        self._settle_log(fold, frame)
        dropped = self.run.take(fold, verdict)
        for other in dropped:
            self.files.drop(other.number)
        self.log.drop({other.number for other in dropped})
        if verdict.is_tested:
            self.tell(said="fold", fold=fold.number)

    def _settle_log(self, fold: Fold, frame: Frame) -> None:
        files = parts_of(frame)
        self.log.settle(fold.number, files.get("log", b""), files.get("private.log", b""))

    def _reclaimed(self, fold: Fold, frame: Frame, why: str) -> None:
        files = parts_of(frame)
        self.log.stream(fold.number, 0, files.get("log", b""))
        has_saved = self.files.keep_checkpoint(fold.number, files)
        if self.run.reclaim(fold, why):
            self.log.restart(fold.number, why + (", with what it has saved" if has_saved else ""))
