"""What a worker is: the contract between the dispatcher and the place where a submission runs.

A plugin subclasses `BaseWorker`, implements ``setup``, ``launch_submission``,
``_is_submission_finished``, ``collect_results`` and ``teardown``, and calls ``super()`` in each::

    class MyWorker(BaseWorker):
        def setup(self): ...; super().setup()
        def launch_submission(self): ...; super().launch_submission()
        def _is_submission_finished(self): return ...
        def collect_results(self): super().collect_results(); ...; return returncode, error_msg
        def teardown(self): ...; super().teardown()

One thread drives one worker from setup to teardown. Only `wake`, `last_status` and ``repr`` are for
other threads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel

from ramp_engine.errors import WorkerError, WorkerLostError, WorkerStateError
from ramp_engine.worker_place import IsLive, WorkerPlace
from ramp_engine.worker_status import TIMEOUT_RETURNCODE, Capability, WorkerStatus, as_status

__all__ = ["TIMEOUT_RETURNCODE", "BaseWorker", "Capability", "IsLive", "WorkerStatus"]

logger = logging.getLogger(__name__)


class BaseWorker(WorkerPlace, ABC):
    """Run one submission somewhere.

    Parameters
    ----------
    config : mapping
        The ``worker`` section of the event's file, and what the dispatcher adds:
        ``submissions_dir``, ``predictions_dir``, ``logs_dir``, ``kit_dir``, ``data_dir``,
        ``bundle_dir``, ``work_dir``, ``n_folds``, ``n_threads``, ``n_jobs_per_submission``,
        ``timeout`` (seconds) and ``time_between_collection`` (seconds); before `attach`,
        ``elapsed_seconds`` as well. With `Capability.FOLDS` it may find ``folds``, those that are
        to be run instead of all, and ``kept_folds``, from each other one to the attempt that has
        done it: it says so in the log. A dispatcher says for whom it runs as well: ``deployment``
        (16 hexadecimal digits, of no other event of any database), ``dispatcher_id``,
        ``submission_id`` and ``attempt``. A worker marks with these what might outlive its process,
        for `reap`.
    submission : str
        Name of the submission's directory inside ``submissions_dir``.

    Attributes
    ----------
    config : dict
    submission : str
    shared : object
        What `open_shared` gave, None without a dispatcher.
    sandbox : str or None
        How the submission is confined, such as ``namespaces``; known after `setup`, None when the
        worker does not say.
    interruption : str
        Why the run was interrupted, for people; empty when the worker does not say.
    """

    #: A model of the worker's own keys of the ``worker`` section; None: they pass as they are.
    config_model: ClassVar[type[BaseModel] | None] = None
    #: What the worker can do beyond the least.
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    #: Whether `open_shared` and `warm_up` may be called for a supposed bundle, before the database
    #: is asked, since that costs nobody anything; `warm_up` is called again for the right one.
    begins_early: ClassVar[bool] = False
    #: Whether what it starts may outlive its dispatcher and cost something: `reap` is called then.
    reaps: ClassVar[bool] = False

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        self.config: dict[str, Any] = dict(config)
        self.submission = submission
        self.shared: Any = None
        self.sandbox: str | None = None
        self.interruption = ""
        self.clock: Callable[[], float] = time.monotonic
        self._status = WorkerStatus.INITIALIZED
        self._status_lock = threading.Lock()
        self._poll_lock = threading.Lock()
        self._wake = threading.Event()
        self._started_at: float | None = None

    def __repr__(self) -> str:
        """Tell what it is and how it stands; asks nobody and shows no configuration."""
        return f'{type(self).__name__}(submission="{self.submission}", status="{self._status}")'

    # Status

    @property
    def status(self) -> WorkerStatus:
        """How the worker stands; while it runs, reading asks the place where it runs.

        A second reader, in another thread or inside the question itself, gets the last answer.
        """
        if self._status is WorkerStatus.RUNNING and self._poll_lock.acquire(blocking=False):
            try:
                self._poll()
            finally:
                self._poll_lock.release()
        return self._status

    @status.setter
    def status(self, value: str) -> None:
        status = as_status(value)
        with self._status_lock:
            self._status = status

    @property
    def last_status(self) -> WorkerStatus:
        """The status as it was last seen; asks nobody."""
        return self._status

    def _poll(self) -> None:
        if self._is_submission_interrupted():
            status = WorkerStatus.RETRY
        elif self._is_submission_finished():
            status = WorkerStatus.FINISHED
        elif self.check_timeout():
            status = WorkerStatus.TIMEOUT
        else:
            return
        with self._status_lock:
            if self._status is WorkerStatus.RUNNING:
                self._status = status

    @abstractmethod
    def _is_submission_finished(self) -> bool:
        """Tell whether the run has ended, well or not. Asked often: it should take no time."""

    def _is_submission_interrupted(self) -> bool:
        """Tell whether the run was lost through no fault of its own, such as a reclaimed node."""
        return False

    def check_timeout(self) -> bool:
        """Tell whether the run takes longer than ``config["timeout"]`` seconds allow."""
        limit = self.config.get("timeout")
        if limit is None or self._started_at is None:
            return False
        return self.clock() - self._started_at >= float(limit)

    def _require(self, method: str, *expected: WorkerStatus) -> None:
        """Raise `WorkerStateError` unless the last known status is one of `expected`."""
        if self._status not in expected:
            raise WorkerStateError(method, str(self._status), expected)

    # The life of a worker

    def setup(self) -> None:
        """Make ready where the submission will run.

        Raises
        ------
        WorkerStateError
            The worker is set up already.
        """
        self._require("setup", WorkerStatus.INITIALIZED)
        self._become(WorkerStatus.SETUP)

    def launch_submission(self) -> None:
        """Start the submission, and do not wait for its end.

        Raises
        ------
        WorkerStateError
            The worker is not set up, or has launched its submission already.
        """
        self._require("launch_submission", WorkerStatus.SETUP)
        self._started_at = self.clock()
        self._become(WorkerStatus.RUNNING)

    def collect_results(self) -> tuple[int, str]:
        """Put predictions and log where the dispatcher wants them; here, check the status only.

        A worker writes ``predictions_dir/<submission>/fold_<i>/`` and
        ``logs_dir/<submission>/log``, and sets the status to ``collected``.

        Returns
        -------
        returncode : int
            0 when all is well.
        error_msg : str
            What failed, for the participant; empty when all is well.

        Raises
        ------
        WorkerStateError
            The submission was not launched, still runs, or was collected already.
        """
        ended = (
            WorkerStatus.FINISHED,
            WorkerStatus.TIMEOUT,
            WorkerStatus.ERROR,
            WorkerStatus.RETRY,
        )
        if self.status not in ended:
            raise WorkerStateError("collect_results", str(self._status), ended)
        return 0, ""

    def collect_done_folds(self) -> Collection[int]:
        """Hand over the folds that are done while others still run; here, none.

        For each, ``predictions_dir/<submission>/fold_<i>/`` appears as a whole, filled under a
        hidden name and renamed; its ``state.txt`` says ``tested``. The dispatcher takes it from
        there, shows its scores, and keeps it should the run be lost: `collect_results` need not
        give it again. Called now and then while the worker runs, and before the end of a run that
        is to be repeated. An error of it costs the submission nothing.

        Returns
        -------
        collection of int
            Those that are done, also those that were handed over before.
        """
        return ()

    def teardown(self) -> None:
        """End what still runs and release everything; safe from any status, and twice."""
        if self._status is not WorkerStatus.KILLED:
            self._become(WorkerStatus.KILLED)

    def cancel(self) -> None:
        """End the run early, with everything that it started; no results are collected."""
        self.teardown()
        self.status = WorkerStatus.KILLED

    def _become(self, status: WorkerStatus) -> None:
        self.status = status
        logger.debug("worker %s", status, extra={"worker": repr(self)})

    # Waiting

    def wait(self, timeout_seconds: float) -> None:
        """Wait until it may be worth reading `status` again.

        A worker that can tell the end of its run calls `wake`; others are asked again after
        `timeout_seconds`.
        """
        self._wake.wait(timeout_seconds)
        self._wake.clear()

    def wake(self) -> None:
        """End a `wait` at once, also the next one; for other threads.

        Called when the run is to end early, whatever the worker does: one that may wait long for
        others, in `setup` for instance, can end that as well, by an error.
        """
        self._wake.set()

    # Adoption

    def handle(self) -> str | None:
        """Name the run so that another dispatcher can find it; None: it dies with this one.

        Asked between `setup` and `launch_submission`, and stored before the run starts: whenever
        the dispatcher dies, its successor knows where to look.
        """
        return None

    def attach(self, handle: str) -> None:
        """Take over a run that a dispatcher, dead by now, started; the status becomes ``running``.

        Called in place of `setup` and `launch_submission`. The time limit counts from the start of
        the run: ``config["elapsed_seconds"]`` tells how long ago that was.

        Parameters
        ----------
        handle : str
            What `handle` of that worker gave. The directories in ``config`` are new ones; those of
            the worker that started the run stay until the attempt is over.

        Raises
        ------
        WorkerStateError
            The worker has a run already.
        WorkerError
            The worker's runs do not outlive their dispatcher.
        WorkerLostError
            The run is gone.
        """
        if Capability.ADOPT not in self.capabilities:
            raise WorkerError(f"{type(self).__name__} cannot take over the run {handle!r}")
        self._require("attach", WorkerStatus.INITIALIZED)
        self._started_at = self.clock() - float(self.config.get("elapsed_seconds", 0.0))
        self._become(WorkerStatus.RUNNING)

    def detach(self) -> None:
        """Let go of a run that another dispatcher took over: it goes on, nothing of it is ended.

        Called in place of `teardown`; what only this worker holds, such as a connection, is to be
        released.
        """
        self.status = WorkerStatus.KILLED

    # Alone

    def launch(self) -> tuple[int, str]:
        """Run the submission from setup to teardown, without a dispatcher.

        Returns
        -------
        returncode : int
        error_msg : str
            As `collect_results` gives them.

        Raises
        ------
        WorkerError
            The platform failed; the worker is torn down.
        """
        with self._shared_or_own():
            try:
                self.setup()
                self.launch_submission()
                while self.status is WorkerStatus.RUNNING:
                    self.wait(float(self.config.get("time_between_collection", 1.0)))
                return self._results()
            finally:
                self.teardown()

    @contextlib.contextmanager
    def _shared_or_own(self) -> Iterator[Self]:
        if self.shared is not None:
            yield self
            return
        with self.open_shared(self.config) as self.shared:
            yield self

    def _results(self) -> tuple[int, str]:
        if self._status is WorkerStatus.RETRY:
            reason = f"the run of {self.submission} was interrupted. {self.interruption}"
            raise WorkerLostError(reason.rstrip(". "), "Run it again")
        has_timed_out = self._status is WorkerStatus.TIMEOUT
        if has_timed_out and Capability.TIME_LIMIT not in self.capabilities:
            return TIMEOUT_RETURNCODE, "time limit exceeded"  # collecting might wait for its end
        return self.collect_results()
