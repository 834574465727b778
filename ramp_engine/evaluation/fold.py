"""The second step, on the untrusted side: train and predict, one child process a fold.

This process imports the libraries and the problem and reads the training part of the bundle,
once. It never fits anything (a child forked after an OpenMP fit hangs) and never holds X_test or
a test label, since its children inherit its memory. The participant's code runs in `child` only.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import arrays, bundle, child, private
from .failure import FAILED_AFTER, KitError, death_report
from .kit import Fold, import_problem, working_directory
from .untrusted_files import RefusedFileError, read_text, write_text

_TIMES = ("train_time", "valid_time", "test_time")


@dataclass(frozen=True)
class FoldRun:
    """One run of a submission."""

    bundle: Path  #: the public part of the bundle
    submission: Path  #: the folder with the participant's files
    output: Path  #: where ``fold_<i>/`` are written
    scratch: Path  #: where the folds work
    private_log: Path  #: what is printed while predicting the test data; mode 0600


def run_folds(run: FoldRun, numbers: Optional[Sequence[int]] = None) -> list[dict[str, Any]]:
    """Train and predict, fold after fold; stop at the first failure, as ramp-test does.

    Parameters
    ----------
    run : FoldRun
        What is run, and where.
    numbers : sequence of int, optional
        The folds; all of them by default.

    Returns
    -------
    list of dict
        For each fold that was run: ``fold``, ``state``, ``error`` (None, or a report for the
        participant), ``train_time``, ``valid_time``, ``test_time`` [s].

    Raises
    ------
    KitError
        The bundle is damaged or does not go with this environment.
    """
    if not run.submission.is_dir():
        raise FileNotFoundError(f"there is no submission in {run.submission}")
    manifest = bundle.read_manifest(run.bundle)
    folds = bundle.load_folds(run.bundle / "folds")
    run.scratch.mkdir(parents=True, exist_ok=True)
    problem = import_problem(run.bundle / "kit")
    with working_directory(run.scratch):
        X = bundle.load(run.bundle / "train", "X", problem)
        y = bundle.load(run.bundle / "train", "y", problem)
    gc.collect()
    gc.freeze()  # what the children share stays shared
    results = []
    for number in range(len(folds)) if numbers is None else numbers:
        _check_number(number, len(folds))
        results.append(_run_fold(run, number, (problem, X, y, folds[number]), manifest))
        if results[-1]["state"] != "tested":
            break
    return results


def _check_number(number: int, n_folds: int) -> None:
    if not 0 <= number < n_folds:
        raise KitError(
            f"there is no fold {number}", f"The bundle has the folds 0 to {n_folds - 1}."
        )


def _run_fold(
    run: FoldRun, number: int, inputs: tuple[Any, Any, Any, Fold], manifest: dict[str, Any]
) -> dict[str, Any]:
    print(f"CV fold {number}", flush=True)
    received, facts = os.pipe()
    task = child.Task(
        fold=number,
        submission=run.submission,
        output=run.output / f"fold_{number}",
        scratch=run.scratch / f"fold_{number}",
        bundle=run.bundle,
        private_log=_open_private(run.private_log),
        facts=facts,
        known_errors=private.known_errors(),
        has_test=bool(manifest["has_test"]),
    )
    task.output.mkdir(parents=True, exist_ok=True)
    task.scratch.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        child.run(task, *inputs)
    os.close(task.private_log)
    os.close(facts)
    _, status = os.waitpid(pid, 0)
    return _judge(task, status, _drain(received))


def _open_private(path: Path) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
    return os.open(path, flags, 0o600)


def _drain(descriptor: int) -> bytes:
    """Return what a child has sent; one that it has forked may still hold the pipe open."""
    os.set_blocking(descriptor, False)
    try:
        return os.read(descriptor, private.MAX_FACTS)
    except BlockingIOError:
        return b""
    finally:
        os.close(descriptor)


def _judge(task: child.Task, status: int, sent: bytes) -> dict[str, Any]:
    """Say how a fold has ended, from its process and from what it left."""
    state = read_text(task.output, "state.txt")
    times = {name: _seconds(read_text(task.output, name)) for name in _TIMES}
    is_told = state in FAILED_AFTER.values()
    is_complete = (
        status == 0
        and state == "tested"
        and None not in times.values()
        and arrays.exists(task.output, "train")
        and (arrays.exists(task.output, "test") or not task.has_test)
    )
    is_test = sent.startswith(private.TESTING)
    if not (is_told or is_complete) and os.waitstatus_to_exitcode(status) == child.EXIT_OURS:
        raise ChildProcessError(f"the process of fold {task.fold} failed; its log says why")
    if not is_complete and is_test:
        state = "testing_error"
        _tell(task, state, _test_report(task, status, sent[len(private.TESTING) :]))
    elif not (is_told or is_complete):
        state = FAILED_AFTER.get(state, "training_error")
        _tell(task, state, death_report(status, state))
    error = None if is_complete else read_text(task.output, "error.txt") or "No reason was left.\n"
    return {"fold": task.fold, "state": state, "error": error, **times}


def _test_report(task: child.Task, status: int, sent: bytes) -> str:
    """Tell of a failure in the test without a word of the participant's code."""
    report = private.report(sent, task.submission, task.known_errors)
    if report is None and os.waitstatus_to_exitcode(status) == child.EXIT_TOLD:
        return "The predictions of the test data cannot be used.\n"
    return report or death_report(status, "testing_error")


def _tell(task: child.Task, state: str, report: str) -> None:
    """Write what the child could not, or must not."""
    print(report, end="", flush=True)
    try:
        write_text(task.output, "error.txt", report)
        write_text(task.output, "state.txt", state)
    except (RefusedFileError, FileNotFoundError) as error:
        print(f"The folder of fold {task.fold} was damaged by the submission: {error}", flush=True)


def _seconds(text: str) -> Optional[float]:
    try:
        seconds = float(text)
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None
