"""Workers that run submissions on this machine."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, Field

from ramp_engine.base import TIMEOUT_RETURNCODE, BaseWorker, Capability, WorkerStatus
from ramp_engine.environments import python_for_worker
from ramp_engine.errors import CollectError, WorkerError, WorkerLostError, WorkerSetupError
from ramp_engine.fold_outputs import (
    MAX_TOTAL_BYTES,
    copy_fold,
    copy_log,
    copy_predictions,
    failure_message,
    is_tested,
    open_untrusted,
    read_result,
)
from ramp_engine.fold_process import FoldRun, fold_servers, folds_in_flight
from ramp_engine.gpus import GpuAccess, GpuPool
from ramp_engine.outcome import EXIT_KIT, EXIT_OURS
from ramp_engine.room import as_good_as_full
from ramp_engine.sandbox import NONE, Sandbox, SandboxKeys, find_sandbox
from ramp_engine.step_servers import StepServers

__all__ = ["CondaEnvWorker", "CondaWorkerConfig", "FoldProcessWorker", "LocalWorker"]
__all__ += ["LocalWorkerConfig", "SharedPlace"]

logger = logging.getLogger(__name__)

#: How much later than the supervisor we notice ourselves that time is up, in seconds.
OVERDUE_SECONDS = 10.0


class _FoldWorkerConfig(SandboxKeys):
    gpus: int = Field(
        default=0, ge=0, description="GPUs that each submission has for itself; 0: it sees none."
    )
    timeout: float | None = Field(
        default=None, gt=0, description="Seconds that a submission may take."
    )


class LocalWorkerConfig(_FoldWorkerConfig):
    """The keys of ``worker_type: local``."""

    python: str | None = Field(
        default=None,
        min_length=1,
        description="Interpreter that has ramp-workflow and what the kit needs, or the prefix of a "
        "venv, uv or pixi environment; default: the one made by `ramp setup create-env`.",
    )


class CondaWorkerConfig(_FoldWorkerConfig):
    """The keys of ``worker_type: conda``."""

    conda_env: str = Field(min_length=1, description="Name or prefix of the conda environment.")


@dataclass(frozen=True)
class SharedPlace:
    """What the workers of one dispatcher share: what was found of the place where they run."""

    python: Path  #: the event's interpreter
    sandbox: Sandbox  #: how submissions are confined
    gpus: GpuPool
    servers: StepServers | None = None  #: None: every run starts cold


class FoldProcessWorker(BaseWorker):
    """Run the folds of a submission in a process tree of their own, on this machine.

    Subclasses differ in how the event's interpreter is found. The tree ends with the run, at the
    time limit, on `cancel` and `teardown`, and when the dispatcher dies in whatever way.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.TIME_LIMIT, Capability.FOLDS}
    )
    begins_early: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._run: FoldRun | None = None
        self._place: SharedPlace | None = None
        self._gpus: tuple[str, ...] = ()
        self._gpu_access = GpuAccess()
        self._handed: set[int] = set()  # folds that were handed over
        self._n_bytes_left = MAX_TOTAL_BYTES  # that may still be copied

    @classmethod
    def find_python(cls, config: Mapping[str, Any]) -> Path:
        """Find the event's interpreter.

        Raises
        ------
        WorkerSetupError
            There is none.
        """
        return python_for_worker(config, Path(config["work_dir"]))

    @classmethod
    @contextlib.contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[SharedPlace]:
        """Find the event's interpreter and the sandbox, once for all workers of a dispatcher.

        Raises
        ------
        WorkerSetupError
            There is no interpreter.
        SandboxError
            Confinement is required, and cannot be had.
        """
        python = cls.find_python(config)
        sandbox = find_sandbox(python, SandboxKeys.of(config))
        gpus = GpuPool.found()
        if not sandbox.holds_apart or not config.get("fold_server", True):
            yield SharedPlace(python, sandbox, gpus)
            return
        scratch_dir = Path(config["work_dir"], "scratch")
        with contextlib.ExitStack() as stack:
            try:
                who = {"level": sandbox.level, "uid": sandbox.uid, "gid": sandbox.gid}
                n_threads = config.get("n_threads")
                opened = fold_servers(python, scratch_dir, n_threads, who, _jobs(config))
                servers = stack.enter_context(opened)
            except OSError as error:
                raise WorkerSetupError(f"no room for a fold server: {error}") from error
            yield SharedPlace(python, sandbox, gpus, servers)

    @classmethod
    def warm_up(cls, config: Mapping[str, Any], shared: Any) -> None:
        """Start a fold server, where folds are confined strictly enough to share one."""
        if isinstance(shared, SharedPlace) and shared.servers is not None:
            shared.servers.prepare(Path(config["bundle_dir"]))

    @classmethod
    def fold_environment(cls, config: Mapping[str, Any], shared: Any) -> str:
        """Name the interpreter, when a package was last installed beside it, and the confinement.

        The last, since folds that ran with less of it are not to count as what the others are.
        """
        is_known = isinstance(shared, SharedPlace)
        python = shared.python if is_known else cls.find_python(config)
        confined = f"{shared.sandbox.level} {shared.sandbox.uid}" if is_known else ""
        prefix = python.parent.parent
        places = [python.resolve(), prefix / "conda-meta"]
        places += prefix.glob("lib/python3*/site-packages")
        found = [place for place in sorted(places) if place.exists()]
        return " ".join([confined, *(f"{place} {place.stat().st_mtime_ns}" for place in found)])

    def setup(self) -> None:
        """Check that everything is there, and make the directories of the run.

        Raises
        ------
        WorkerSetupError
            Environment, bundle or submission are missing, or the disk refuses.
        SandboxError
            Confinement is required, and cannot be had.
        ResourceUnavailableError
            There are not so many GPUs free.
        """
        self._require("setup", WorkerStatus.INITIALIZED)
        with contextlib.ExitStack() as stack:
            is_known = isinstance(self.shared, SharedPlace)
            own = None if is_known else stack.enter_context(self.open_shared(self.config))
            place: SharedPlace = own or self.shared
        _check(
            place.python, "the event's environment", "Make it again, or correct the event's file"
        )
        _check(self._path("bundle_dir") / "manifest.json", "the event's bundle", "Deploy the event")
        _check(self._submission_dir, "the submission", "Was it removed?")
        self._place, self.sandbox = place, place.sandbox.level
        self._gpus = place.gpus.take(int(self.config.get("gpus", 0)))
        self._gpu_access = place.gpus.access(self._gpus, is_confined=self.sandbox != NONE)
        self._run = FoldRun(place.python, self._path("submissions_dir").parent)
        super().setup()

    def launch_submission(self) -> None:
        """Start the folds.

        Raises
        ------
        WorkerStateError
            The worker is not set up, or has launched its submission already.
        WorkerSetupError
            The machine refuses another process.
        """
        self._require("launch_submission", WorkerStatus.SETUP)
        self._tell_kept_folds(self._made_run)
        self._made_run.start(
            bundle=self._path("bundle_dir"),
            submission=self._submission_dir,
            n_threads=self.config.get("n_threads"),
            n_jobs=_jobs(self.config),
            sandbox=self._sandbox_spec(),
            gpus=self._gpu_access.visible,
            timeout_seconds=self._timeout,
            on_end=self.wake,
            servers=None if self._place is None else self._place.servers,
            folds=self.config.get("folds"),
        )
        super().launch_submission()

    def _tell_kept_folds(self, run: FoldRun) -> None:
        for number, attempt in sorted(self.config.get("kept_folds", {}).items()):
            run.log.write(b"fold %d is kept from attempt %d\n" % (number, attempt))
        run.log.flush()

    def _sandbox_spec(self) -> dict[str, Any]:
        assert self._place is not None  # noqa: S101  setup found it
        n_folds = folds_in_flight(self._path("bundle_dir"), _jobs(self.config))
        n_folds *= int(self.config.get("n_workers", 1))
        spec = self._place.sandbox.spec(SandboxKeys.of(self.config), n_folds)
        access = self._gpu_access
        return spec | {"read": [*spec["read"], *access.read], "devices": access.devices}

    def _is_submission_finished(self) -> bool:
        return self._made_run.returncode is not None and not self.check_timeout()

    def check_timeout(self) -> bool:
        """Tell whether the supervisor ended the run at its time limit, or should have by now."""
        if self._timeout is None or self._started_at is None:
            return False
        seconds = self.clock() - self._started_at - self._timeout
        returncode = self._made_run.returncode
        has_ended_it = returncode == TIMEOUT_RETURNCODE and seconds >= 0
        return has_ended_it or (returncode is None and seconds >= OVERDUE_SECONDS)

    @property
    def _timeout(self) -> float | None:
        timeout = self.config.get("timeout")
        return None if timeout is None else float(timeout)

    def collect_done_folds(self) -> Collection[int]:
        """Copy the outputs of folds that are done.

        Raises
        ------
        CollectError
            The disk refuses.
        """
        if self.last_status not in (WorkerStatus.RUNNING, WorkerStatus.FINISHED):
            return self._handed
        output, target = self._made_run.scratch.output, self._path("predictions_dir")
        numbers = self.config.get("folds") or range(int(self.config["n_folds"]))
        for number in numbers:
            if number not in self._handed and is_tested(output, number):
                try:
                    n_bytes = copy_fold(
                        output, target / self.submission, number, self._n_bytes_left
                    )
                except OSError as error:
                    raise CollectError(f"fold {number} cannot be copied: {error}") from error
                self._n_bytes_left -= n_bytes
                self._handed.add(number)
        return self._handed

    def collect_results(self) -> tuple[int, str]:
        """Copy predictions and logs to where the dispatcher wants them.

        Returns
        -------
        returncode : int
            0; 1 the participant's failure; 3 the kit's; 70 ours; 124 the time limit; 128 + signal.
        error_msg : str

        Raises
        ------
        WorkerStateError
            As in the base class.
        WorkerLostError
            The supervisor itself was killed.
        CollectError
            The disk refuses.
        """
        super().collect_results()
        has_timed_out = self.last_status is WorkerStatus.TIMEOUT
        run = self._made_run
        if not run.end():
            raise WorkerLostError(f"the processes of {self.submission} cannot be ended")
        try:
            self._copy_outputs(run)
        except OSError as error:
            raise CollectError(f"results of {self.submission} cannot be copied: {error}") from error
        returncode, error_msg = self._timed_out() if has_timed_out else self._facts(run)
        self.status = WorkerStatus.COLLECTED
        return returncode, error_msg

    def _copy_outputs(self, run: FoldRun) -> None:
        self._copy_logs(run)
        target = self._path("predictions_dir") / self.submission
        copy_predictions(run.scratch.output, target, self._handed, self._n_bytes_left)

    def _copy_logs(self, run: FoldRun) -> None:
        logs = self._path("logs_dir") / self.submission
        copy_log(run.log, logs / "log")
        with contextlib.suppress(OSError), open_untrusted(run.scratch.private_log) as private:
            copy_log(private, logs / "private.log", 0o600)

    def _timed_out(self) -> tuple[int, str]:
        return TIMEOUT_RETURNCODE, f"out of time: not done after {self._timeout:g} s"

    def _facts(self, run: FoldRun) -> tuple[int, str]:
        if run.process is not None and run.process.killed_by is not None:
            name = run.process.killed_by.name
            raise WorkerLostError(f"the supervisor of {self.submission} was killed by {name}")
        returncode = run.returncode or 0
        result = read_result(run.scratch.result)
        is_cut_short = result is None or returncode in (EXIT_KIT, EXIT_OURS)
        full = as_good_as_full(run.scratch.root) if is_cut_short else None
        if full is not None:
            raise CollectError("the folds left no result on a full disk") from full
        error_msg = failure_message(result, returncode)
        return returncode or int(bool(error_msg)), error_msg

    def cancel(self) -> None:
        """End the run early, with everything that it started; of it the logs are kept."""
        run = self._run
        if run is not None and run.process is not None and not run.log.closed and run.end():
            try:
                self._copy_logs(run)
            except OSError as error:
                logger.warning("no log is kept: %s", error, extra={"worker": repr(self)})
        super().cancel()

    def teardown(self) -> None:
        """End the tree and remove the directories of the run; safe from any status, and twice."""
        if self._run is not None:
            if not self._run.end():
                logger.error("processes cannot be ended", extra={"worker": repr(self)})
            self._run.remove()
        if self._place is not None:
            self._place.gpus.give_back(self._gpus)
            self._gpus = ()
        super().teardown()

    @property
    def _made_run(self) -> FoldRun:
        assert self._run is not None  # noqa: S101  setup makes it, and the status was checked
        return self._run

    def _path(self, key: str) -> Path:
        try:
            return Path(os.fspath(self.config[key]))
        except KeyError as error:
            reason = f"{type(self).__name__} needs {key} in its config"
            raise WorkerError(reason, "The dispatcher gives it") from error

    @property
    def _submission_dir(self) -> Path:
        return self._path("submissions_dir") / self.submission


class LocalWorker(FoldProcessWorker):
    """Run submissions with the interpreter of a venv, uv or pixi environment."""

    config_model: ClassVar[type[BaseModel] | None] = LocalWorkerConfig


class CondaEnvWorker(FoldProcessWorker):
    """Run submissions in a conda environment, given by name or prefix."""

    config_model: ClassVar[type[BaseModel] | None] = CondaWorkerConfig

    @classmethod
    def find_python(cls, config: Mapping[str, Any]) -> Path:
        """Find the interpreter of the conda environment; as in the base class."""
        if not config.get("conda_env"):
            hint = "Give name or prefix of the environment, or use worker_type: local"
            raise WorkerSetupError("worker_type conda needs the key conda_env", hint)
        return super().find_python(config)


def _jobs(config: Mapping[str, Any]) -> int:
    return int(config.get("n_jobs_per_submission", 1))


def _check(path: Path, what: str, hint: str) -> None:
    if not path.exists():
        raise WorkerSetupError(f"{what} is missing: no {path}", hint)
