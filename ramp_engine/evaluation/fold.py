"""The second step, on the untrusted side: train and predict, one child process a fold.

Several folds can run at a time (`side_by_side`): between this process and each of them then stands
a process that does here what this one does otherwise.

This process imports the libraries and the problem and reads the training part of the bundle,
once. It never fits anything (a child forked after an OpenMP fit hangs) and never holds X_test or
a test label, since its children inherit its memory; where validation labels are hidden, no label at
all: each child reads those of its own fold. The participant's code runs in `child` only.
Of what it says nothing is believed: this process keeps the logs, holds the limits and ends the
whole tree of a fold before it takes what the fold has left.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import bundle, child, private, starting, supervise, verdict
from .control_group import control_group
from .diagnosis import step
from .failure import KitError
from .fold_parent import Asides
from .forked_fold import ForkedFold
from .kit import Fold, import_problem, working_directory
from .limits import Sandbox
from .log_aside import LogAside
from .log_pump import Log, LogPump, Logs
from .plan import ConfinementError
from .preload import uncollected
from .process_tree import ProcessTree
from .record import Record
from .side_by_side import SideBySide
from .stopping import StoppedError, StopSignal
from .watch import Watch


@dataclass(frozen=True)
class FoldRun:
    """One run of a submission."""

    bundle: Path  #: the public part of the bundle
    submission: Path  #: the folder with the participant's files
    output: Path  #: where ``fold_<i>/`` are written; below nothing that the folds may see
    scratch: Path  #: where the folds work
    private_log: Path  #: what is printed while predicting the test data; mode 0600
    sandbox: Optional[Sandbox] = None  #: None: neither confined nor limited
    checkpoint: Optional[Path] = None  #: where the folds may save what they need to be resumed


@dataclass(frozen=True)
class Inputs:
    """What all folds of all submissions of an event share."""

    bundle: Path  #: where they are from: the public part
    manifest: dict[str, Any]
    problem: Any  #: the module
    folds: list[Fold]
    X: Any  #: training instances
    y: Any  #: their labels; None where those of validation are hidden: each child reads its own


def load_inputs(folder: Path) -> Inputs:
    """Import the problem of a bundle and read its training part, to be shared with children.

    Parameters
    ----------
    folder : Path
        The public part of the bundle.

    Raises
    ------
    KitError
        The bundle is damaged or does not go with this environment.
    """
    with uncollected():  # what the children share stays shared
        manifest = bundle.read_manifest(folder)
        folds = bundle.load_folds(folder / "folds")
        problem = import_problem(folder / "kit")
        X = bundle.load(folder / "train", "X", problem)
        y = None if bundle.hides_labels(manifest) else bundle.load(folder / "train", "y", problem)
    return Inputs(folder, manifest, problem, folds, X, y)


def run_folds(
    run: FoldRun,
    numbers: Optional[Sequence[int]] = None,
    held: Optional[Inputs] = None,
    n_jobs: int = 1,
) -> list[dict[str, Any]]:
    """Train and predict, fold after fold; stop at the first failure, as ramp-test does.

    Parameters
    ----------
    run : FoldRun
        What is run, and where.
    numbers : sequence of int, optional
        The folds; all of them by default.
    held : Inputs, optional
        What this process has read of the bundle before.
    n_jobs : int
        So many folds at a time; what they show is the same.

    Returns
    -------
    list of dict
        For each fold up to the first failure: ``fold``, ``state``, ``error`` (None, or a report
        for the participant), ``limit`` (None, or what ``limit.json`` holds), ``peak_memory_mb``,
        ``train_time``, ``valid_time``, ``test_time`` [s].

    Raises
    ------
    KitError
        The bundle is damaged or does not go with this environment; or the machine refuses what
        a fold needs.
    StoppedError
        SIGTERM has come: the folds were ended, and the logs are complete.
    FoldParentError
        One of several folds at a time has no verdict, by a fault of ours.
    """
    if not run.submission.is_dir():
        raise FileNotFoundError(f"there is no submission in {run.submission}")
    with _refusals_told(), step("make the folders of a fold"):
        run.scratch.mkdir(parents=True, exist_ok=True)
    with working_directory(run.scratch):
        inputs = load_inputs(run.bundle) if held is None else held
    wanted = range(len(inputs.folds)) if numbers is None else numbers
    for number in wanted:
        _check_number(number, len(inputs.folds))
    supervise.become_subreaper()
    n_bytes = _log_bytes(run)
    logs = Logs(Log(1, n_bytes), Log(run.private_log, n_bytes))
    with StopSignal() as stop, contextlib.closing(logs), _refusals_told():
        if bundle.hides_labels(inputs.manifest):
            logs.say("The labels of a fold's validation part are hidden from it.\n")
        if min(n_jobs, len(wanted)) > 1:
            results = _side_by_side(run, wanted, inputs, logs, stop, n_jobs)
        else:
            results = _one_by_one(run, wanted, inputs, logs, stop)
    if stop.is_given:
        raise StoppedError(results)
    return results


def _log_bytes(run: FoldRun) -> Optional[int]:
    return run.sandbox.limits.log_bytes if run.sandbox else None


def _one_by_one(
    run: FoldRun, numbers: Sequence[int], inputs: Inputs, logs: Logs, stop: StopSignal
) -> list[dict[str, Any]]:
    results = []
    for number in numbers:
        results.append(_run_fold(run, number, inputs, logs, stop))
        if results[-1]["state"] != "tested" or stop.is_given:
            break
    return results


def _side_by_side(
    run: FoldRun, numbers: Sequence[int], inputs: Inputs, logs: Logs, stop: StopSignal, n_jobs: int
) -> list[dict[str, Any]]:
    folder, n_bytes = run.private_log.parent, _log_bytes(run)

    def work(number: int, logs: Logs, stop: StopSignal) -> dict[str, Any]:
        with _refusals_told():
            return _run_fold(run, number, inputs, logs, stop)

    def make_asides() -> Asides:
        return Asides(LogAside(folder, n_bytes), LogAside(folder, n_bytes))

    def drop(number: int) -> None:
        shutil.rmtree(run.output / f"fold_{number}", ignore_errors=True)

    return SideBySide(work, n_jobs, logs, make_asides, drop, stop).run(numbers)


@contextlib.contextmanager
def _refusals_told() -> Iterator[None]:
    """Have what the machine refuses a fold told as a fault that the organiser mends."""
    try:
        yield
    except ConfinementError as error:
        raise KitError(f"the fold cannot be started: {error.message}", error.hint) from error


def _check_number(number: int, n_folds: int) -> None:
    if not 0 <= number < n_folds:
        raise KitError(
            f"there is no fold {number}", f"The bundle has the folds 0 to {n_folds - 1}."
        )


def _masked_labels(run: FoldRun, number: int, manifest: dict[str, Any]) -> Optional[Path]:
    """Return the folder of one fold's labels, None where all labels are given to all folds."""
    if not bundle.hides_labels(manifest):
        return None
    folder = bundle.masked_folder(run.bundle, number)
    if not any(folder.glob("y.*")):
        raise KitError(f"{folder} holds no labels", "Remove the bundle, and deploy the event anew.")
    return folder


def _task(run: FoldRun, number: int, inputs: Inputs, pipes: starting.Pipes) -> child.Task:
    return child.Task(
        fold=number,
        submission=run.submission,
        output=run.scratch / f"output_{number}",
        scratch=run.scratch / f"fold_{number}",
        bundle=run.bundle,
        log=pipes.log[1],
        facts=pipes.facts[1],
        go=pipes.go[1],
        known_errors=private.known_errors(),
        has_test=bool(inputs.manifest["has_test"]),
        labels=_masked_labels(run, number, inputs.manifest),
    )


def _run_fold(
    run: FoldRun, number: int, inputs: Inputs, logs: Logs, stop: StopSignal
) -> dict[str, Any]:
    logs.say(f"CV fold {number}\n")
    with step("open the pipes of a fold"):
        pipes = starting.Pipes.open()
    task = _task(run, number, inputs, pipes)
    sandbox = run.sandbox or Sandbox()
    with step("make the folders of a fold"):
        places = _places(run, task)
    record = Record(task.output, run.output / f"fold_{number}")
    tree = ProcessTree(starting.n_keepers(sandbox))
    pump = LogPump(pipes.log[0], logs.public, logs.private)
    header = f"--- fold {number}: predicting the test data\n".encode()
    with control_group(sandbox.limits) as group:
        data = inputs.problem, inputs.X, inputs.y, inputs.folds[number]
        pid = starting.fork(task, data, pipes, places, sandbox, group)
        watch = Watch(sandbox.limits, tree, places.write, group)
        ending = ForkedFold(pid, pipes, pump, watch, tree, record, stop).tend(header)
    result, told = verdict.judge(task, ending, sandbox.limits, record)
    logs.say(told)
    return result


def _places(run: FoldRun, task: child.Task) -> starting.Places:
    for folder in (task.output, task.scratch):
        folder.mkdir(parents=True, exist_ok=True)
    parts = [run.bundle / part for part in ("manifest.json", "kit", "train", "folds")]
    parts += [] if task.labels is None else [task.labels]  # and not those of other folds
    kept = [] if run.checkpoint is None else [run.checkpoint]
    places = starting.Places(
        write=[task.output, task.scratch, *kept],
        read=[run.submission, *parts],
        released=[run.bundle / "test"],
        checkpoint=run.checkpoint,
    )
    if run.sandbox is None:
        return places
    return starting.own_places(places, run.scratch, task.fold, run.sandbox)
