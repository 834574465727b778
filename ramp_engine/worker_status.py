"""How a worker stands, and what it can do; plugins import these from `ramp_engine.base`."""

from __future__ import annotations

from enum import StrEnum

from ramp_engine.errors import WorkerError, nearest

__all__ = ["TIMEOUT_RETURNCODE", "Capability", "WorkerStatus", "as_status"]

#: The return code of a run that was ended at its time limit.
TIMEOUT_RETURNCODE = 124


class WorkerStatus(StrEnum):
    """Status of a worker, in memory; the state of a submission, in SQL, is another thing."""

    INITIALIZED = "initialized"  #: made, nothing was done yet
    SETUP = "setup"  #: where the submission will run is ready
    RUNNING = "running"  #: the submission runs
    FINISHED = "finished"  #: the run has ended, its results wait to be collected
    COLLECTED = "collected"  #: the results are where the dispatcher wants them
    RETRY = "retry"  #: the run was interrupted through no fault of its own
    TIMEOUT = "timeout"  #: the run took longer than allowed
    ERROR = "error"  #: the worker itself failed
    KILLED = "killed"  #: torn down


class Capability(StrEnum):
    """What a worker can do beyond running a submission."""

    ADOPT = "adopt"  #: `BaseWorker.handle` and `BaseWorker.attach`: its runs outlive a dispatcher
    INTERRUPT = "interrupt"  #: it may lose its machine, and then reports ``retry``
    TIME_LIMIT = "time_limit"  #: it ends a run at the time limit; what there is can be collected
    FOLDS = "folds"  #: `BaseWorker.collect_done_folds`, and it runs ``config["folds"]`` only


def as_status(value: str) -> WorkerStatus:
    """Give a status by its value.

    Raises
    ------
    WorkerError
        There is no such status.
    """
    try:
        return WorkerStatus(value)
    except ValueError as error:
        suggestion = nearest(value, map(str, WorkerStatus))
        hint = f"Did you mean {suggestion!r}?" if suggestion else ""
        known = ", ".join(WorkerStatus)
        raise WorkerError(f"a worker has no status {value!r} ({known})", hint) from error
