"""What a run left behind: written by somebody else's code, and so taken as data.

No link is followed, only regular files of known names are copied, in chunks, and what is said of
the run is believed only as far as it makes sense.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
from collections.abc import Collection
from pathlib import Path
from typing import Any

from ramp_engine.evaluation.left_outputs import (
    MAX_FILE_BYTES,
    MAX_TOTAL_BYTES,
    copy_bytes,
    copy_log,
    fold_folders,
    is_output,
    is_tested,
    open_untrusted,
    output_files,
    output_sizes,
)

__all__ = ["MAX_FILE_BYTES", "MAX_TOTAL_BYTES", "copy_fold", "copy_log", "copy_predictions"]
__all__ += [
    "failure_message",
    "is_output",
    "is_tested",
    "open_untrusted",
    "output_sizes",
    "read_result",
]

#: A larger result file is not read, in bytes.
MAX_RESULT_BYTES = 16 << 20
#: The longest error of a fold that goes into a message, in characters.
MAX_ERROR_LENGTH = 4000

_PHASES = {
    "training_error": "training",
    "validating_error": "predicting the training data",
    "testing_error": "predicting the test data",
}


def copy_predictions(
    source: Path, target: Path, handed: Collection[int] = (), n_left: int = MAX_TOTAL_BYTES
) -> None:
    """Copy the folds' outputs, replacing older ones; what is too large is left out.

    Parameters
    ----------
    source : Path
        The run's ``training_output``; it may be missing.
    target : Path
        Will hold ``fold_<i>/``.
    handed : collection of int
        Folds that were copied before: they are not copied again.
    n_left : int
        The most that is copied, in bytes.

    Raises
    ------
    OSError
        The disk refuses.
    """
    names = {f"fold_{number}" for number in handed}
    if not names:
        shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    for fold in fold_folders(source):
        if fold.name not in names:
            n_left -= _copy_fold(fold, target / fold.name, n_left)


def copy_fold(source: Path, target: Path, number: int, n_left: int) -> int:
    """Copy the outputs of one fold that is done; they appear as a whole or not at all.

    Parameters
    ----------
    source, target : Path
        As for `copy_predictions`.
    number : int
        The fold.
    n_left : int
        The most that is copied, in bytes.

    Returns
    -------
    int
        How many bytes were copied.

    Raises
    ------
    OSError
        The disk refuses.
    """
    staged = target / f".fold_{number}"
    shutil.rmtree(staged, ignore_errors=True)
    target.mkdir(parents=True, exist_ok=True)
    n_bytes = _copy_fold(source / f"fold_{number}", staged, n_left)
    shutil.rmtree(target / f"fold_{number}", ignore_errors=True)  # of results half collected
    staged.rename(target / f"fold_{number}")
    return n_bytes


def _copy_fold(fold: Path, target: Path, n_left: int) -> int:
    """Copy the outputs of a fold, as far as they may be; return how many bytes these are."""
    n_copied = 0
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    for path in output_files(fold):
        n_bytes = path.lstat().st_size
        if n_bytes > MAX_FILE_BYTES or n_copied + n_bytes > n_left:
            continue
        n_copied += n_bytes
        with open_untrusted(path) as file, (target / path.name).open("wb") as copy:
            copy_bytes(file, copy, n_bytes)
    return n_copied


def read_result(path: Path) -> dict[str, Any] | None:
    """Read what the fold step said of itself; None when there is nothing that makes sense."""
    try:
        with open_untrusted(path) as file:
            result = json.loads(file.read(MAX_RESULT_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def failure_message(result: dict[str, Any] | None, returncode: int) -> str:
    """Tell what failed, short and for humans.

    Parameters
    ----------
    result : dict or None
        As from `read_result`.
    returncode : int
        Of the run.

    Returns
    -------
    str
        Empty when nothing failed.
    """
    message = None if result is None else _fold_failure(result) or _step_failure(result)
    if message is None and (result is None or returncode != 0):
        message = _exit_message(returncode)
    return message or ""


def _fold_failure(result: dict[str, Any]) -> str | None:
    """Give phase and error of the first fold that failed."""
    folds = result.get("folds")
    for fold in folds if isinstance(folds, list) else []:
        if isinstance(fold, dict) and fold.get("error"):
            phase = _PHASES.get(str(fold.get("state")), "running")
            error = _shortened(str(fold["error"]))
            return f"fold {fold.get('fold')} failed while {phase}: {headline(error)}\n\n{error}"
    return None


def _step_failure(result: dict[str, Any]) -> str | None:
    """Give the error of the fold step itself: the kit's, or ours."""
    error = result.get("error")
    if isinstance(error, dict):
        return _shortened(
            " ".join(str(error[key]) for key in ("message", "hint") if error.get(key))
        )
    return None


def _exit_message(returncode: int) -> str:
    if returncode == 0:
        return "the run ended as if all were well, but left no result: does the code end processes?"
    if returncode == 128 + signal.SIGKILL:
        return "the run was killed (SIGKILL): did it use more memory than the machine has?"
    if returncode > 128:
        with contextlib.suppress(ValueError):
            return f"the run was ended by {signal.Signals(returncode - 128).name}"
    return f"the run ended with code {returncode} and left no result; see the log"


def headline(error: str) -> str:
    """Give the line of a traceback that says what happened: the last that is not indented.

    Parameters
    ----------
    error : str

    Returns
    -------
    str
        Of at most 300 characters; empty for nothing.
    """
    lines = [line for line in error.splitlines() if line.strip()]
    said = [line for line in lines if not line.startswith((" ", "Traceback"))]
    return (said or lines or [""])[-1][:300]


def _shortened(text: str) -> str:
    if len(text) <= MAX_ERROR_LENGTH:
        return text
    half = MAX_ERROR_LENGTH // 2
    return f"{text[:half]}\n[...]\n{text[-half:]}"
