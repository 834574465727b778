"""What the errors of Ray mean for a job."""

from __future__ import annotations

from concurrent.futures import CancelledError

from ray import exceptions

from ramp_engine.remote.engine import Loss

__all__ = ["loss_of", "short"]

#: The first that fits.
_LOSSES: tuple[tuple[tuple[type[BaseException], ...], Loss], ...] = (
    ((exceptions.TaskCancelledError, CancelledError), Loss.UNPLACED),
    ((exceptions.OutOfMemoryError,), Loss.MEMORY),
    ((exceptions.LocalRayletDiedError,), Loss.CLUSTER),
    ((exceptions.RuntimeEnvSetupError, exceptions.UnserializableException), Loss.BROKEN),
    (
        (
            exceptions.NodeDiedError,
            exceptions.WorkerCrashedError,
            exceptions.RayActorError,
            exceptions.ObjectLostError,
            exceptions.ObjectStoreFullError,
            exceptions.OutOfDiskError,
            exceptions.TaskUnschedulableError,
            exceptions.ActorUnschedulableError,
        ),
        Loss.NODE,
    ),
    ((exceptions.RayTaskError,), Loss.BROKEN),
)
#: So many characters are kept of the beginning and of the end; the latter says most in a traceback.
_HEAD_LENGTH, _TAIL_LENGTH = 200, 500


def loss_of(error: BaseException) -> Loss:
    """Tell why a job is lost whose task gave an error; what is unknown is the cluster's."""
    return next((loss for types, loss in _LOSSES if isinstance(error, types)), Loss.CLUSTER)


def short(error: BaseException) -> str:
    """Say in a line what an error of Ray says in many."""
    cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
    text = " ".join(str(cause).split())
    if len(text) > _HEAD_LENGTH + _TAIL_LENGTH:
        text = f"{text[:_HEAD_LENGTH]} ... {text[-_TAIL_LENGTH:]}"
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
