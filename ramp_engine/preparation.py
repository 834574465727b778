"""The trusted steps of the evaluation, as processes in the event's environment.

`run_step` starts one of them and turns what it leaves behind into a result or an error of ours.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ramp_engine.config import EventConfig
from ramp_engine.environments import python_for_worker
from ramp_engine.errors import EvaluationError, WorkerSetupError
from ramp_engine.evaluation.scratch import MAKING, SERVERS, STEP, scratch_directory, sweep
from ramp_engine.room import as_good_as_full
from ramp_engine.step_server import ServedProcess, StepCall, start_cold
from ramp_engine.supervised import inherited_environment, last_lines, run_logged, run_to_end

__all__ = [
    "Bundle",
    "PrepareResult",
    "prepare_data",
    "run_prepare",
    "run_step",
    "scratch",
    "scratch_dir",
    "sweep_scratch",
    "trusted_python",
]

#: The longest time that making a bundle may take, in seconds.
PREPARE_TIMEOUT_SECONDS = 4 * 3600.0

#: Starts a run of a step from a warm process; None: there is none.
Warm = Callable[[StepCall, threading.Event | None], ServedProcess | None]

_DONE, _PARTICIPANT, _KIT, _TIMEOUT = 0, 1, 3, 124


@dataclass(frozen=True)
class Bundle:
    """The two halves of an event's bundle."""

    public: Path  #: what a fold may see
    labels: Path  #: what only trusted steps may see

    @classmethod
    def within(cls, bundles_dir: Path, name: str) -> Bundle:
        """Name the halves of the bundle called `name`."""
        return cls(bundles_dir / name / "public", bundles_dir / name / "labels")

    @property
    def name(self) -> str:
        """The hash of its inputs."""
        return self.public.parent.name

    @property
    def n_folds(self) -> int:
        """How many folds it has."""
        return len(list((self.public / "folds").glob("fold_*.npz")))

    def read_hashes(self) -> dict[str, str]:
        """Read the hashes of what it was made of: ``kit``, ``data``, ``folds``, ``environment``.

        Raises
        ------
        EvaluationError
            Its manifest cannot be read.
        """
        hashes = self._read_manifest().get("hashes", {})
        return {str(name): str(value) for name, value in hashes.items()}

    def hides_labels(self) -> bool:
        """Tell whether no fold sees the labels of its validation part.

        Raises
        ------
        EvaluationError
            Its manifest cannot be read.
        """
        return bool(self._read_manifest().get("hides_validation_labels", False))

    def _read_manifest(self) -> dict[str, Any]:
        path = self.labels / "manifest.json"
        manifest = _read(path)
        if manifest is None:
            hint = f"Remove {self.public.parent}: the bundle is made again"
            raise EvaluationError("prepare", f"{path} cannot be read", hint)
        return manifest

    @property
    def exists(self) -> bool:
        """Whether it has been made; a bundle appears as a whole."""
        return all((half / "manifest.json").is_file() for half in (self.public, self.labels))


@dataclass(frozen=True)
class PrepareResult:
    """What the prepare step tells about an event."""

    name: str  #: of the bundle: the hash of its inputs
    bundle: Bundle
    hashes: dict[str, str]  #: of kit, data, folds and environment
    problem_title: str
    score_types: tuple[dict[str, Any], ...]  #: the first is the official one
    required_files: tuple[str, ...]  #: what a submission must bring
    n_train: int  #: rows of the training data
    n_test: int | None  #: rows of the test data, None without test labels
    folds: tuple[dict[str, int], ...]  #: ``n_train`` and ``n_valid`` of each

    @property
    def fold_files(self) -> tuple[Path, ...]:
        """The files that hold the folds, in their order."""
        return tuple(
            self.bundle.public / "folds" / f"fold_{number}.npz" for number in range(len(self.folds))
        )


def trusted_python(event: EventConfig) -> Path:
    """Find the interpreter of the trusted steps on this machine.

    It is that of the section ``evaluation`` where one is given, else the worker's.

    Raises
    ------
    WorkerSetupError
        There is none; what to do about it.

    Notes
    -----
    A name of a conda environment costs a call of conda, some 0.3 s: keep the answer.
    """
    names = ("python", "conda_env")
    given = event.evaluation.model_dump(include=set(names), exclude_none=True)
    keys = {name: event.worker.get(name) for name in names}
    try:
        return python_for_worker(given or keys, event.ramp.work_dir)
    except WorkerSetupError as error:
        hint = error.hint.replace("--event-config ...", f"--event-config {event.path}")
        raise WorkerSetupError(error.reason, hint) from error


def prepare_data(event: EventConfig) -> bool:
    """Run the event's ``prepare_data.py``, if there is one and its data are not there yet.

    Returns
    -------
    bool
        Whether it was run.

    Raises
    ------
    EvaluationError
        It failed, or left no data behind.
    WorkerSetupError
        The event's environment is missing.
    """
    data_dir = event.ramp.data_dir
    if (data_dir / "data").exists() or not (data_dir / "prepare_data.py").is_file():
        return False
    log_path = event.ramp.work_dir / "prepare_data.log"
    command = [str(trusted_python(event)), "prepare_data.py"]
    code = None
    try:
        code = _run("prepare_data.py", command, log_path, PREPARE_TIMEOUT_SECONDS, cwd=data_dir)
    finally:
        if code != _DONE:  # half of the data would be taken for all of it
            shutil.rmtree(data_dir / "data", ignore_errors=True)
    if code != _DONE:
        raise EvaluationError("prepare_data.py", _ending(code, log_path), f"See {log_path}")
    if not (data_dir / "data").is_dir():
        raise EvaluationError("prepare_data.py", f"it has made no {data_dir / 'data'}")
    return True


def run_prepare(
    event: EventConfig, folds: Sequence[bytes] = (), *, stopping: threading.Event | None = None
) -> PrepareResult:
    """Make the bundle of an event, or find it when it is there.

    Parameters
    ----------
    event : EventConfig
    folds : sequence of bytes
        The content of the ``fold_<i>.npz`` to be used; without any the kit draws its folds.
    stopping : Event, optional
        Ends it early when it is set, with an error.

    Raises
    ------
    EvaluationError
        The kit or the data are at fault, or it was ended early.
    WorkerSetupError
        The event's environment is missing.
    """
    bundles_dir = event.ramp.work_dir / "bundles"
    arguments = ["--kit", event.ramp.kit_dir, "--data", event.ramp.data_dir]
    arguments += ["--bundles-dir", bundles_dir]
    if event.ramp.data_label is not None:
        arguments += ["--data-label", event.ramp.data_label]
    if event.evaluation.hide_validation_labels:
        arguments.append("--hide-validation-labels")
    with scratch("prepare", scratch_dir(event)) as folds_dir:
        for index, content in enumerate(folds):
            (folds_dir / f"fold_{index}.npz").write_bytes(content)
        if folds:
            arguments += ["--folds", folds_dir]
        result = run_step(
            trusted_python(event),
            "prepare",
            [str(argument) for argument in arguments],
            log_path=event.ramp.work_dir / "prepare.log",
            scratch_parent=scratch_dir(event),
            timeout_seconds=PREPARE_TIMEOUT_SECONDS,
            stopping=stopping,
        )
    return PrepareResult(
        name=result["bundle"],
        bundle=Bundle.within(bundles_dir, result["bundle"]),
        hashes=result["hashes"],
        problem_title=result["problem_title"],
        score_types=tuple(result["score_types"]),
        required_files=tuple(result["required_files"]),
        n_train=result["n_train"],
        n_test=result["n_test"],
        folds=tuple(result["folds"]),
    )


def run_step(
    python: Path,
    step: str,
    arguments: Sequence[str],
    *,
    log_path: Path,
    scratch_parent: Path,
    timeout_seconds: float,
    stopping: threading.Event | None = None,
    warm: Warm | None = None,
) -> dict[str, Any]:
    """Run a trusted step to its end.

    Parameters
    ----------
    python : Path
        The interpreter of the event's environment.
    step : str
        ``prepare``, ``score`` or ``blend``.
    arguments : sequence of str
        Those of the step, without ``--result``.
    log_path : Path
        Gets what the step prints; replaced. Only its owner may read it.
    scratch_parent : Path
        Where it leaves its result; see `scratch_dir`.
    timeout_seconds : float
    stopping : Event, optional
        Ends the step early when it is set; that is an error of it.
    warm : callable, optional
        Starts the step from a process that is warm, where there is one.

    Returns
    -------
    dict
        The step's result; with the key ``error`` where the predictions of a submission are at
        fault.

    Raises
    ------
    EvaluationError
        The kit, the data or the environment are at fault, the step took too long, or it died.
    """
    with scratch(step, scratch_parent) as directory:
        path = directory / "result.json"
        with _opened(step, log_path) as log:
            call = StepCall(
                [step, *arguments, "--result", str(path)],
                log=log,
                environment=inherited_environment(),
                cwd=directory,
                timeout_seconds=timeout_seconds,
            )
            code = _run_call(step, python, call, stopping, warm)
        result = _read(path)
        full = as_good_as_full(directory)
    if code == _DONE and result is not None and "error" not in result:
        return result
    if code == _PARTICIPANT and result is not None and "state" in result.get("error", {}):
        return result
    if code == _TIMEOUT:
        raise EvaluationError(step, f"it took longer than {timeout_seconds:g} s", f"See {log_path}")
    error = (result or {}).get("error", {})
    if code == _KIT and error:
        raise EvaluationError(step, error["message"], error.get("hint") or f"See {log_path}")
    reason = error.get("message") or _ending(code, log_path)
    raise EvaluationError(step, reason, f"See {log_path}") from full


def scratch_dir(event: EventConfig) -> Path:
    """Name the directory for what the trusted steps need for a while."""
    return event.ramp.work_dir / "scratch"


def sweep_scratch(event: EventConfig) -> list[Path]:
    """Remove what steps left behind that were killed, or whose dispatcher was.

    Returns
    -------
    list of Path
        What was removed; never what a live process uses.
    """
    unfinished = sweep(event.ramp.work_dir / "bundles", MAKING)
    left = [path for prefix in (STEP, SERVERS) for path in sweep(scratch_dir(event), prefix)]
    return unfinished + left


@contextmanager
def scratch(step: str, parent: Path) -> Iterator[Path]:
    """Make a directory for what a step needs for a while; see `scratch_dir` and `sweep_scratch`.

    Raises
    ------
    EvaluationError
        The disk refuses.
    """
    with ExitStack() as stack:
        try:
            directory = stack.enter_context(scratch_directory(parent, STEP))
        except OSError as error:
            raise EvaluationError(step, str(error)) from error
        yield directory


def _run_call(
    step: str,
    python: Path,
    call: StepCall,
    stopping: threading.Event | None,
    warm: Warm | None,
) -> int:
    try:
        process = None if warm is None else warm(call, stopping)
        return run_to_end(process or start_cold(python, call), stopping)
    except WorkerSetupError as error:
        raise EvaluationError(step, str(error)) from error


def _opened(step: str, log_path: Path) -> IO[bytes]:
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.touch(mode=0o600)  # it may tell about test data
        return log_path.open("wb")
    except OSError as error:
        raise EvaluationError(step, str(error)) from error


def _run(
    step: str,
    command: Sequence[str],
    log_path: Path,
    timeout_seconds: float,
    cwd: Path | None = None,
    stopping: threading.Event | None = None,
) -> int:
    try:
        log_path.parent.mkdir(parents=True, exist_ok=True)
        log_path.touch(mode=0o600)  # it may tell about test data
        return run_logged(
            command, log_path, timeout_seconds=timeout_seconds, cwd=cwd, stopping=stopping
        )
    except (WorkerSetupError, OSError) as error:
        raise EvaluationError(step, str(error)) from error


def _read(path: Path) -> dict[str, Any] | None:
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return result if isinstance(result, dict) else None


def _ending(code: int, log_path: Path) -> str:
    """Tell how a step ended that left no message."""
    try:
        ending = f"it was ended by {signal.Signals(code - 128).name}"
    except ValueError:
        ending = f"it ended with code {code}"
    said = last_lines(log_path)
    return f"{ending}\n{said}" if said else f"{ending} and said nothing"
