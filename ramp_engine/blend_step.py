"""The blend step, as the engine sees it, and what is kept for its next run.

What is kept lies in ``<work_dir>/blend/<bundle>/``: copies of predictions, choices, files with test
scores. Only the owner may read it, and one process at a time uses it.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from ramp_database import submissions
from ramp_engine.config import EventConfig
from ramp_engine.errors import EvaluationError
from ramp_engine.preparation import Bundle, run_step, scratch, scratch_dir, trusted_python

__all__ = ["BlendStep", "Candidates", "alone", "forget", "keep_only", "run_blend"]

#: The longest time that blending may take, in seconds.
BLEND_TIMEOUT_SECONDS = 24 * 3600.0

#: Folders with predictions by number and attempt of the submissions, in the order of the blend.
Candidates = Mapping[tuple[int, int], Path]


class BlendStep(Protocol):
    """What blends; `run_blend` is the real one."""

    def __call__(
        self, event: EventConfig, bundle: Bundle, candidates: Candidates, min_improvement: float
    ) -> dict[str, Any]:
        """Blend; parameters, value and errors are those of `run_blend`."""


def run_blend(
    event: EventConfig, bundle: Bundle, candidates: Candidates, min_improvement: float
) -> dict[str, Any]:
    """Run the blend step.

    Parameters
    ----------
    event : EventConfig
    bundle : Bundle
    candidates : mapping
    min_improvement : float
        By how much more than nothing an addition must improve the official score.

    Returns
    -------
    dict
        See `ramp_engine.evaluation.blend.blend`.

    Raises
    ------
    EvaluationError
        The kit, the labels or the environment are at fault.
    WorkerSetupError
        The event's environment is missing.
    """
    rows = [
        {"name": submissions.directory_name(number), "attempt": attempt, "folder": str(folder)}
        for (number, attempt), folder in candidates.items()
    ]
    kept = _kept_dir(event) / bundle.name
    with scratch("blend", scratch_dir(event)) as directory:
        listed = directory / "submissions.json"
        listed.write_text(json.dumps(rows), encoding="utf-8")
        arguments = {
            "--labels": bundle.labels,
            "--data": event.ramp.data_dir,
            "--submissions": listed,
            "--cache": kept,
            "--output": kept / "output",
            "--min-improvement": min_improvement,
        }
        return run_step(
            trusted_python(event),
            "blend",
            [str(part) for pair in arguments.items() for part in pair],
            log_path=event.ramp.work_dir / "blend.log",
            scratch_parent=scratch_dir(event),
            timeout_seconds=BLEND_TIMEOUT_SECONDS,
        )


def forget(event: EventConfig) -> None:
    """Remove the copies of predictions that are kept for the next blend.

    Raises
    ------
    EvaluationError
        The event is being blended.
    """
    with alone(event):
        keep_only(event, None)


def keep_only(event: EventConfig, bundle: str | None) -> None:
    """Remove what is kept of other bundles, within `alone`; of all where none is named."""
    for path in _kept_dir(event).iterdir():
        if path.is_dir() and path.name != bundle:
            shutil.rmtree(path)


def _kept_dir(event: EventConfig) -> Path:
    return event.ramp.work_dir / "blend"


@contextmanager
def alone(event: EventConfig) -> Iterator[None]:
    """Let one process at a time use what is kept; the lock goes with the process.

    Raises
    ------
    EvaluationError
        Another uses it.
    """
    directory = _kept_dir(event)
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            name = event.ramp.event_name
            raise EvaluationError("blend", f"{name} is being blended by somebody else") from error
        yield
    finally:
        os.close(lock)
