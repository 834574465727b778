"""Taking one worker through its life, and telling what was seen of it.

Every call into the plugin goes through `ramp_engine.calls`, so that one that hangs can be given up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from ramp_database.queue import Adopted
from ramp_engine.base import BaseWorker, Capability, WorkerStatus
from ramp_engine.calls import Calls
from ramp_engine.config import EventConfig
from ramp_engine.errors import (
    ClaimLostError,
    DatabaseUnavailableError,
    PluginError,
    RampError,
    ResourceUnavailableError,
)
from ramp_engine.outcome import Stop
from ramp_engine.recording import Recorder
from ramp_engine.room import find_full

logger = logging.getLogger(__name__)

#: From this exit code on a signal ended the run.
_FIRST_SIGNAL = 128


class StopRequest:
    """The wish that a run ends before its time; the first reason counts.

    Attributes
    ----------
    reason : Stop or None
    at : float or None
        When it was made, in monotonic seconds.
    made : threading.Event
        Set when there is one.
    """

    def __init__(self) -> None:
        self.reason: Stop | None = None
        self.at: float | None = None
        self.made = threading.Event()

    def make(self, reason: Stop) -> None:
        """Make the wish."""
        if self.reason is None:
            self.at = time.monotonic()
            self.reason = reason
            self.made.set()


class Driver:
    """Drive one worker, in the thread of its run.

    Parameters
    ----------
    worker : BaseWorker
    event : EventConfig
    recorder : Recorder
    calls : Calls
        Watched by the dispatcher.
    request : StopRequest
    on_phase : callable
        Told ``training`` and ``collecting`` when that begins.
    on_done : callable
        Told the folds that the worker has handed over so far.
    told : str
        What else the history is to say of the start.
    """

    def __init__(
        self,
        worker: BaseWorker,
        event: EventConfig,
        recorder: Recorder,
        calls: Calls,
        request: StopRequest,
        on_phase: Callable[[str], None],
        on_done: Callable[[Collection[int]], None],
        told: str = "",
    ) -> None:
        self._worker = worker
        self._event = event
        self._recorder = recorder
        self._calls = calls
        self._request = request
        self._on_phase = on_phase
        self._on_done = on_done
        self._told = told
        self._is_handing_over = True
        self._handle: str | None = None
        #: Whether another dispatcher has taken the run over: it is not ours to end any more.
        self.is_adopted_elsewhere = False
        #: Whether the run was over, and by no signal, before anybody asked for its end.
        self.has_ended_by_itself = False

    def drive(self, bundle: str, adopted: Adopted | None = None) -> dict[str, Any]:
        """Take the worker from setup, or from the run that it takes over, to teardown.

        Parameters
        ----------
        bundle : str
            Name of the event's bundle.
        adopted : Adopted, optional
            The run to take over.

        Returns
        -------
        dict
            Fields of `ramp_engine.outcome.Facts`; everything that the worker raises becomes one.

        Raises
        ------
        ClaimLostError
            The submission belongs to somebody else by now.
        DatabaseUnavailableError
            The database is away, and the dispatcher ends the run.
        GivenUp
            A call hung, and the dispatcher has taken the attempt from this thread.
        """
        try:
            if adopted is None:
                self._launch(bundle)
            else:
                self._attach(adopted)
                if adopted.bundle_hash != bundle:
                    return self._outdated()
            return self._see_through()
        except (ClaimLostError, DatabaseUnavailableError):
            raise
        except Exception as error:  # noqa: BLE001  around a plugin
            self._check_claim()
            self._take_done()
            return self._failure(error)
        finally:
            self._let_go()

    def _launch(self, bundle: str) -> None:
        worker = self._worker
        self._calls("setup", worker.setup)
        self._handle = self._calls("handle", worker.handle)
        self._recorder.start(self._handle, bundle, worker.sandbox, self._told)
        self._on_phase("training")
        self._calls("launch_submission", worker.launch_submission)

    def _attach(self, adopted: Adopted) -> None:
        self._handle = adopted.handle
        self._on_phase("training")
        self._calls("attach", lambda: self._worker.attach(adopted.handle))

    def _outdated(self) -> dict[str, Any]:
        self._calls("cancel", self._worker.cancel)
        reason = "the event was deployed again while the submission ran"
        return {"worker_status": "retry", "error_msg": reason}

    def _see_through(self) -> dict[str, Any]:
        """Wait for the end of the run, and collect."""
        limits = self._event.dispatcher
        seconds = min(limits.time_between_collection, limits.hung_after_seconds / 2)
        n_turns = 0
        while self._request.reason is None and self._status() == WorkerStatus.RUNNING:
            if n_turns:
                self._take_done()
            self._calls("wait", lambda: self._worker.wait(seconds))
            n_turns += 1
        self._check_claim()
        status = self._status() if self._request.reason is None else self._worker.last_status
        if self._request.reason is not None or status == WorkerStatus.RETRY:
            if self._request.reason is not Stop.CANCELED:
                self._take_done()
            self._calls("cancel", self._worker.cancel)
            return {"worker_status": str(status), "error_msg": str(self._worker.interruption)}
        self._on_phase("collecting")
        collected = self._collect(status)
        # a signal may be that of a shutdown, sent to every process of a service
        is_signal = not 0 <= collected.get("returncode", -1) < _FIRST_SIGNAL
        self.has_ended_by_itself = status == WorkerStatus.FINISHED and not is_signal
        return {"worker_status": str(status)} | collected

    def _take_done(self) -> None:
        """Have the folds taken that are done; whatever goes wrong costs the run nothing."""
        if not self._is_handing_over:
            return
        try:
            done = self._calls("collect_done_folds", self._worker.collect_done_folds)
            self._on_done(done)
        except Exception:
            self._is_handing_over = False
            logger.exception("folds that are done are not taken", extra=self._recorder.extra)

    def _status(self) -> WorkerStatus:
        return self._calls("status", lambda: self._worker.status)

    def _check_claim(self) -> None:
        """See whose the run is: while this dispatcher was paused, another may have adopted it."""
        if self._handle is None:
            return
        claim, holder = self._recorder.claim, self._recorder.holder()
        if holder != claim.dispatcher_id:
            self.is_adopted_elsewhere = holder is not None
            raise ClaimLostError(claim.submission_id, claim.attempt)

    def _collect(self, status: WorkerStatus) -> dict[str, Any]:
        is_late = status == WorkerStatus.TIMEOUT
        if is_late and Capability.TIME_LIMIT not in self._worker.capabilities:
            return {}  # it does not end its runs itself: collecting might wait for ever
        try:
            returncode, error_msg = self._calls("collect_results", self._worker.collect_results)
        except Exception:
            if not is_late:
                raise
            logger.info("nothing collected after the time limit", extra=self._recorder.extra)
            return {}
        if not isinstance(returncode, int) or not isinstance(error_msg, str | None):
            reason = "collect_results() must return a number and a text"
            raise PluginError(self._event.worker_type, reason)
        return {"returncode": returncode, "error_msg": error_msg or ""}

    def _failure(self, error: Exception) -> dict[str, Any]:
        full_dir = find_full(error, self._event.ramp.work_dir)
        if isinstance(error, RampError):
            is_unavailable = isinstance(error, ResourceUnavailableError)
            return {"crash": str(error), "is_unavailable": is_unavailable, "full_dir": full_dir}
        logger.error("the worker raised an error", exc_info=error, extra=self._recorder.extra)
        crash = f"the worker raised {type(error).__name__}: {error}"
        return {"crash": crash, "full_dir": full_dir}

    def _let_go(self) -> None:
        name = "detach" if self.is_adopted_elsewhere else "teardown"
        try:
            self._calls(name, getattr(self._worker, name))
        except Exception:
            logger.exception("%s failed", name, extra=self._recorder.extra)
