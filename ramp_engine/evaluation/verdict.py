"""How a fold has ended: from what its parent has seen, and from what it left."""

from __future__ import annotations

import json
import os
import signal
from typing import Any, Optional

from . import arrays, child, private
from .failure import DOING, FAILED_AFTER, death_report
from .forked_fold import Ending
from .limits import Excess, Limits
from .untrusted_files import RefusedFileError, read_text, remove, write_text

_TIMES = ("train_time", "valid_time", "test_time")


def times_so_far(task: child.Task) -> dict[str, str]:
    """Return the files with the times of training and validating, as they are now."""
    return {name: read_text(task.output, name) for name in _TIMES[:2]}


def restore(task: child.Task, times: dict[str, str]) -> None:
    """Put those files back: they could have been made to carry test data since."""
    for name, text in times.items():
        if text and read_text(task.output, name) != text:
            _write(task, name, text)


def judge(task: child.Task, ending: Ending, limits: Limits) -> tuple[dict[str, Any], str]:
    """Say how a fold has ended.

    Parameters
    ----------
    task : child.Task
        What it had to do.
    ending : Ending
        How its processes ended.
    limits : Limits
        What it could use.

    Returns
    -------
    result : dict
        As in `fold.run_folds`.
    told : str
        What is said of it in the log, besides what the fold itself has printed.

    Raises
    ------
    ChildProcessError
        The process failed by itself, not by the participant's code.
    """
    remove(task.output, "limit.json")  # whatever it is, it is theirs
    said = read_text(task.output, "state.txt")
    times = {name: _seconds(read_text(task.output, name)) for name in _TIMES}
    result = {"fold": task.fold, "state": said, "error": None, "limit": None}
    result["peak_memory_mb"] = round(ending.peak_memory_mb, 1)
    result.update(times)
    if _is_complete(task, ending, said, times):
        return result, ""
    is_told = said in FAILED_AFTER.values() and not ending.is_released
    state = result["state"] = _failed_state(said, ending)
    if ending.is_stopped:
        return _tell(task, result, f"the run was ended in fold {task.fold}, {DOING[state]}\n")
    excess = ending.excess or _file_excess(ending, limits)
    if excess is not None:
        result["limit"] = excess.to_json(DOING[state])
        _write(task, "limit.json", json.dumps(result["limit"]))
        report = excess.sentence(task.fold, DOING[state])
        if is_told and ending.excess is None:
            report += read_text(task.output, "error.txt")  # with the line that wrote
        return _tell(task, result, report)
    if is_told:
        result["error"] = read_text(task.output, "error.txt") or "No reason was left.\n"
        return result, ""
    if os.waitstatus_to_exitcode(ending.status) == child.EXIT_OURS:
        raise ChildProcessError(f"the process of fold {task.fold} failed; its log says why")
    if ending.is_released:
        return _tell(task, result, _test_report(task, ending))
    return _tell(task, result, death_report(ending.status, state))


def _is_complete(
    task: child.Task, ending: Ending, state: str, times: dict[str, Optional[float]]
) -> bool:
    return (
        ending.excess is None
        and ending.status == 0
        and state == "tested"
        and None not in times.values()
        and arrays.exists(task.output, "train")
        and (arrays.exists(task.output, "test") or not task.has_test)
    )


def _failed_state(said: str, ending: Ending) -> str:
    """Return the phase that has failed; once the test data are there, only what we know counts."""
    if ending.is_released:
        return "testing_error"
    return said if said in FAILED_AFTER.values() else FAILED_AFTER.get(said, "training_error")


def _file_excess(ending: Ending, limits: Limits) -> Optional[Excess]:
    """Return the limit of a file's size, where the kernel has held it.

    Of what the process says by its exit code nothing depends but its own reproach.
    """
    code = os.waitstatus_to_exitcode(ending.status)
    if limits.file_mb is None or code not in (-signal.SIGXFSZ, child.EXIT_FILE_LIMIT):
        return None
    return Excess("file_mb", limits.file_mb, limits.file_mb)


def _test_report(task: child.Task, ending: Ending) -> str:
    """Tell of a failure in the test without a word of the participant's code."""
    report = private.report(ending.facts, task.submission, task.known_errors)
    if report is None and os.waitstatus_to_exitcode(ending.status) == child.EXIT_TOLD:
        return "The predictions of the test data cannot be used.\n"
    return report or death_report(ending.status, "testing_error")


def _tell(task: child.Task, result: dict[str, Any], report: str) -> tuple[dict[str, Any], str]:
    """Write what the fold could not, or must not."""
    result["error"] = report
    told = report + _write(task, "error.txt", report)
    return result, told + _write(task, "state.txt", result["state"])


def _write(task: child.Task, name: str, text: str) -> str:
    """Write a file over whatever is there; return what is to be said if that is refused."""
    try:
        write_text(task.output, name, text)
    except (RefusedFileError, FileNotFoundError) as error:
        return f"The folder of fold {task.fold} was damaged by the submission: {error}\n"
    return ""


def _seconds(text: str) -> Optional[float]:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
