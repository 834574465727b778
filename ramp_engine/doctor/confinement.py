"""Check how submitted code is confined on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ramp_engine import registry
from ramp_engine.config import EventConfig
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.errors import SandboxError, WorkerSetupError
from ramp_engine.gpus import GpuPool, cannot_open
from ramp_engine.local import FoldProcessWorker
from ramp_engine.sandbox import NONE, STRONGEST, Sandbox, SandboxKeys, find_sandbox


def is_confined(event: PatientEvent) -> Iterator[Finding]:
    """Try the sandbox of the worker; a worker that runs elsewhere has its own."""
    if event.config is None:
        return
    worker_class = registry.worker_class(event.config.worker_type)
    if not issubclass(worker_class, FoldProcessWorker):
        return
    config = event.config.worker_config()
    keys = SandboxKeys.of(config)
    if keys.sandbox == "off":
        message = "submissions run without any confinement"
        yield warning(Kind.UNCONFINED, message, "set `sandbox: auto`")
        yield from _can_hide_labels(event.config, "none")
        return
    try:
        found = find_sandbox(worker_class.find_python(config), keys)
    except WorkerSetupError:
        return  # told by the check of the environment
    except SandboxError as error:
        yield problem(Kind.CONFINEMENT_REFUSED, error.reason, error.hint)
        return
    yield from _can_hide_labels(event.config, found.level)
    if config.get("gpus") and found.level != NONE:
        yield from closed_gpus(GpuPool.found(), found)
    if found.level == STRONGEST:
        yield ok(f"submissions are confined by {found.level}")
        return
    for refusal in found.refused:
        message = f"not confined by {refusal.level}: {refusal.reason}"
        yield warning(Kind.CONFINEMENT_WEAKER, message, refusal.hint)


def _can_hide_labels(event: EventConfig, level: str) -> Iterator[Finding]:
    """Say what keeping validation labels from a fold is worth at a level of confinement."""
    if not event.evaluation.hide_validation_labels:
        return
    if level == STRONGEST:
        yield ok("the labels of a fold's validation part are hidden from it")
        return
    how = "read them on the disk" if level == "none" else "pass them on by /dev/shm"
    message = f"hide_validation_labels promises little: the folds of a submission can {how}"
    remedy = "have submissions confined by namespaces: set `sandbox: required`"
    yield warning(Kind.LABELS_IN_REACH, message, remedy)


def closed_gpus(pool: GpuPool, sandbox: Sandbox) -> Iterator[Finding]:
    """Name the device nodes of GPUs that submissions could not open.

    Parameters
    ----------
    pool : GpuPool
    sandbox : Sandbox
        How submissions are confined, and as whom.
    """
    access = pool.access(pool.all, is_confined=True)
    who = "this user" if sandbox.uid is None else f"user {sandbox.uid}"
    closed = [path for path in access.devices if cannot_open(Path(path), sandbox.uid, sandbox.gid)]
    for path in closed:
        group = Path(path).stat().st_gid
        hint = f"make group {group} the primary group of sandbox_user, or open it by a udev rule"
        message = f"{who}, as whom submissions run, cannot open {path}"
        yield problem(Kind.GPU_CLOSED, message, hint)
