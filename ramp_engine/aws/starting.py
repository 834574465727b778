"""Waiting until a launched instance runs and has an address."""

from __future__ import annotations

import time
from collections.abc import Callable

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.instances import ENDED, Instance
from ramp_engine.aws.watch import Watch
from ramp_engine.errors import ResourceUnavailableError, WorkerError

__all__ = ["await_running"]


def await_running(
    instance: Instance, watch: Watch, settings: AWSWorkerConfig, is_stopping: Callable[[], bool]
) -> None:
    """Wait until an instance runs, ``start_timeout`` seconds at most.

    Parameters
    ----------
    instance : Instance
    watch : Watch
        Its turns come quickly meanwhile.
    settings : AWSWorkerConfig
    is_stopping : callable
        Tells whether nobody wants it any more.

    Raises
    ------
    ResourceUnavailableError
        It has ended, did not run in time, or nobody wants it.
    WorkerError
        EC2 did not say how it stands until the time was over.
    """
    give_up_at = time.monotonic() + settings.start_timeout
    with watch.awaited():
        while True:
            if is_stopping():
                raise ResourceUnavailableError("the dispatcher stops: no instance is awaited")
            if _has_started(instance, watch):
                return
            left = give_up_at - time.monotonic()
            if left <= 0:
                raise _never_started(instance, watch, settings)
            watch.wait(min(left, 0.5))


def _has_started(instance: Instance, watch: Watch) -> bool:
    seen = watch.look(instance.id)
    if seen is not None and seen.state in ENDED:
        reason = f": {seen.reason}" if seen.reason else ""
        raise ResourceUnavailableError(
            f"the instance {instance.id} ({instance.kind}) ended before it ran{reason}"
        )
    return seen is not None and seen.state == "running" and bool(instance.address)


def _never_started(instance: Instance, watch: Watch, settings: AWSWorkerConfig) -> WorkerError:
    if watch.error is not None:
        return watch.error
    seen, limit = watch.look(instance.id), settings.start_timeout
    state = "pending" if seen is None else seen.state
    if state == "running":
        which = "private" if settings.use_private_ip else "public"
        hint = "Choose a subnet_id that gives public addresses, or set use_private_ip"
        return ResourceUnavailableError(
            f"the instance {instance.id} got no {which} address in {limit:g} s", hint
        )
    return ResourceUnavailableError(
        f"the instance {instance.id} ({instance.kind}) did not run after {limit:g} s: {state}",
        "It was terminated; start_timeout allows more",
    )
