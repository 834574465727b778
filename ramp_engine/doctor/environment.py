"""Checks of the event's environment: its interpreters run, and have ramp-workflow."""

from __future__ import annotations

import json
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ramp_engine import registry
from ramp_engine.config import EventConfig
from ramp_engine.doctor.finding import Finding, Kind, ok, problem, warning
from ramp_engine.doctor.patient import PatientEvent
from ramp_engine.errors import WorkerSetupError
from ramp_engine.evaluation import fingerprint
from ramp_engine.local import FoldProcessWorker
from ramp_engine.preparation import trusted_python
from ramp_engine.supervised import last_lines, run_logged

#: How long an interpreter may take to import ramp-workflow, in seconds.
PROBE_TIMEOUT_SECONDS = 120.0

_PROBE = """
import importlib.metadata, json, platform, runpy, sys
fingerprint = runpy.run_path(sys.argv[1])
import rampwf
packages = fingerprint["environment_lock"]()
print("\\n" + json.dumps({
    "python": platform.python_version(),
    "rampwf": importlib.metadata.version("ramp-workflow"),
    "hash": fingerprint["text_hash"](packages),
}))
"""


def works(event: PatientEvent) -> Iterator[Finding]:
    """Check the interpreter of the trusted steps, and that of the worker where it is another."""
    if event.config is None:
        return
    probed: dict[Path, dict[str, Any]] = {}
    for use, find in _interpreters(event.config).items():
        try:
            python = find()
        except WorkerSetupError as error:
            remedy = error.hint.replace("...", event.quoted_path)
            yield problem(Kind.ENVIRONMENT_MISSING, f"{use}: {error.reason}", remedy)
            continue
        if python in probed:
            continue
        probed[python] = facts = _probe(python)
        if "error" in facts:
            message = f"{use}: {facts['error']}"
            yield problem(Kind.ENVIRONMENT_BROKEN, message, _remedy(event, python))
            continue
        yield ok(f"{use}: {python}, Python {facts['python']}, ramp-workflow {facts['rampwf']}")
        if use == _TRUSTED:
            event.python, event.environment_hash = python, facts["hash"]
            yield from _changed(event)


_TRUSTED, _WORKER = "trusted steps", "worker"


def _interpreters(config: EventConfig) -> dict[str, Callable[[], Path]]:
    found: dict[str, Callable[[], Path]] = {_TRUSTED: lambda: trusted_python(config)}
    worker_class = registry.worker_class(config.worker_type)
    if issubclass(worker_class, FoldProcessWorker):
        found[_WORKER] = lambda: worker_class.find_python(config.worker_config())
    return found


def _probe(python: Path) -> dict[str, Any]:
    """Run an interpreter; give its versions, or the key ``error``."""
    command = [str(python), "-I", "-c", _PROBE, str(Path(fingerprint.__file__).absolute())]
    with tempfile.TemporaryDirectory(prefix="ramp-doctor-") as directory:
        output, errors = Path(directory, "output"), Path(directory, "errors")
        try:
            code = run_logged(
                command, output, errors_path=errors, timeout_seconds=PROBE_TIMEOUT_SECONDS
            )
        except WorkerSetupError as error:
            return {"error": str(error)}
        if code == 0:
            facts: dict[str, Any] = json.loads(last_lines(output, 1))
            return facts
        said = last_lines(errors, 1) or f"it ended with code {code}"
    return {"error": f"{python} does not run, or has no ramp-workflow: {said}"}


def _remedy(event: PatientEvent, python: Path) -> str:
    assert event.config is not None  # noqa: S101  it was asked for its interpreters
    worker, evaluation = event.config.worker, event.config.evaluation
    if worker.get("conda_env") or evaluation.conda_env:
        return f"ramp setup update-conda-env --event-config {event.quoted_path}"
    if worker.get("python") or evaluation.python:
        requirements = shlex.quote(str(event.config.ramp.kit_dir / "requirements.txt"))
        return f"{shlex.quote(str(python))} -m pip install -r {requirements}"
    return f"ramp setup create-env --event-config {event.quoted_path}"


def _changed(event: PatientEvent) -> Iterator[Finding]:
    if event.row is not None and event.row.environment_hash != event.environment_hash:
        yield warning(
            Kind.ENVIRONMENT_CHANGED,
            "the packages of the trusted steps changed since the event was deployed",
            event.deploy_command(is_forced=True),
        )
