"""How a fold has ended: from what its parent has seen, and from what it left."""

from __future__ import annotations

import errno
import json
import os
import signal
from typing import Any, Optional

from . import child, private
from .disk_use import is_full
from .failure import DOING, FAILED_AFTER, death_report
from .forked_fold import Ending
from .limits import Excess, Limits
from .record import Record, read_seconds
from .untrusted_files import RefusedFileError, read_text

_NO_SPACE = tuple(f"[Errno {number}]" for number in (errno.ENOSPC, errno.EDQUOT))


def judge(
    task: child.Task, ending: Ending, limits: Limits, record: Record
) -> tuple[dict[str, Any], str]:
    """Say how a fold has ended, and complete its record.

    Parameters
    ----------
    task : child.Task
        What it had to do.
    ending : Ending
        How its processes ended.
    limits : Limits
        What it could use.
    record : Record
        What others will see of it.

    Returns
    -------
    result : dict
        As in `fold.run_folds`.
    told : str
        What is said of it in the log, besides what the fold itself has printed.

    Raises
    ------
    OSError
        The disk is full, and the fold failed for no other reason that is known.

    Notes
    -----
    A process in which a participant's code has begun can end by any exit code, so no code of exit
    makes a failure ours: that was told before their code began, or the parent sees a reason
    itself. A fault of ours in that process, which nobody can tell from theirs, is therefore told
    as theirs, with the words that organisers can tell it by the log.
    """
    said = read_text(task.output, "state.txt")
    times = record.times(is_released=ending.is_released)
    times["test_time"] = _test_seconds(task, ending)
    result = {"fold": task.fold, "state": said, "error": None, "limit": None}
    result["peak_memory_mb"] = round(ending.peak_memory_mb, 1)
    result.update(times)
    if _is_complete(task, ending, said, times, record):
        return result, _write(task.fold, record, result)
    own_report = ""
    if said in FAILED_AFTER.values() and not ending.is_released:
        own_report = read_text(task.output, "error.txt") or "No reason was left.\n"
    result["state"] = state = _failed_state(said, ending)
    excess = None if ending.is_stopped else ending.excess or _file_excess(ending, limits)
    if excess is not None:
        result["limit"] = excess.to_json(DOING[state])
        report = excess.sentence(task.fold, DOING[state])
        report += own_report if ending.excess is None else ""  # with the line that wrote
    else:
        report = _reason(task, ending, state, own_report)
    result["error"] = report
    told = "" if report == own_report else report
    return result, told + _write(task.fold, record, result)


def _reason(task: child.Task, ending: Ending, state: str, own_report: str) -> str:
    """Return why a fold has failed that was not ended for a limit."""
    if ending.is_stopped:
        return f"the run was ended in fold {task.fold}, {DOING[state]}\n"
    _blame_the_disk(task, ending, own_report)
    if ending.refusal:
        return f"The predictions of the training data cannot be used: {ending.refusal}.\n"
    if ending.is_released:
        return _test_report(task, ending)
    return own_report or _death_report(ending, state)


def _blame_the_disk(task: child.Task, ending: Ending, report: str) -> None:
    """Raise an OSError where the disk is full and nothing speaks against that as the reason.

    The fold itself has not filled it beyond what it may: that would be its excess.
    """
    is_likely = _code(ending) == child.EXIT_OURS or any(mark in report for mark in _NO_SPACE)
    if is_likely and is_full(task.output):
        raise OSError(errno.ENOSPC, f"fold {task.fold} failed on a full disk", str(task.output))


def _code(ending: Ending) -> int:
    return os.waitstatus_to_exitcode(ending.status)


def _test_seconds(task: child.Task, ending: Ending) -> Optional[float]:
    """Return the time of predicting the test data, no finer than anybody could see it by the clock.

    In all its digits it could hold test data.
    """
    seconds = read_seconds(task.output, "test_time")
    if seconds is None or not ending.is_released:
        return None
    return round(min(seconds, ending.test_seconds), 3)


def _is_complete(
    task: child.Task,
    ending: Ending,
    state: str,
    times: dict[str, Optional[float]],
    record: Record,
) -> bool:
    return (
        ending.excess is None
        and ending.status == 0
        and ending.is_released
        and state == "tested"
        and None not in times.values()
        and (not task.has_test or record.take_test())
    )


def _failed_state(said: str, ending: Ending) -> str:
    """Return the phase that has failed; once the test data are there, only what we know counts."""
    if ending.is_released:
        return "testing_error"
    if ending.refusal:
        return "validating_error"
    return said if said in FAILED_AFTER.values() else FAILED_AFTER.get(said, "training_error")


def _file_excess(ending: Ending, limits: Limits) -> Optional[Excess]:
    """Return the limit of a file's size, where the kernel has held it.

    Of what the process says by its exit code nothing depends but its own reproach.
    """
    code = _code(ending)
    if limits.file_mb is None or code not in (-signal.SIGXFSZ, child.EXIT_FILE_LIMIT):
        return None
    return Excess("file_mb", limits.file_mb, limits.file_mb)


def _test_report(task: child.Task, ending: Ending) -> str:
    """Tell of a failure in the test without a word of the participant's code."""
    report = private.report(ending.facts, task.submission, task.known_errors)
    if report is None and _code(ending) == child.EXIT_TOLD:
        return "The predictions of the test data cannot be used.\n"
    return report or _death_report(ending, "testing_error")


def _death_report(ending: Ending, state: str) -> str:
    report = death_report(ending.status, state)
    if _code(ending) == child.EXIT_OURS:
        report += "A fault of ramp itself can end like this too: organisers can tell by the log.\n"
    return report


def _write(number: int, record: Record, result: dict[str, Any]) -> str:
    """Write the small files of the record; return what is to be said if that is refused."""
    files = {"error.txt": result["error"] or "", "limit.json": ""}
    if result["limit"] is not None:
        files["limit.json"] = json.dumps(result["limit"])
    for name in ("train_time", "valid_time", "test_time"):
        files[name] = "" if result[name] is None else str(result[name])
    files["state.txt"] = result["state"]  # the last: who reads it finds the rest
    try:
        for name, text in files.items():
            if text:
                record.note(name, text)
            else:
                record.drop(name)
    except (RefusedFileError, FileNotFoundError) as error:
        return f"The record of fold {number} was damaged by the submission: {error}\n"
    return ""
