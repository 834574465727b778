"""Workers that run submissions on this machine."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, ClassVar

from pydantic import BaseModel, Field

from ramp_engine.base import Capability, WorkerStatus
from ramp_engine.environments import python_for_worker
from ramp_engine.errors import WorkerSetupError
from ramp_engine.fold_process import FoldRun, FoldScratch, fold_servers, folds_in_flight
from ramp_engine.fold_worker import FoldWorker, check
from ramp_engine.gpus import GpuAccess, GpuPool
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


class FoldProcessWorker(FoldWorker):
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
        check(place.python, "the event's environment", "Make it again, or correct the event's file")
        self._check_inputs()
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
        self._made_run.log.write(self._kept_folds())
        self._made_run.log.flush()
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
        return self._is_out_of_time(OVERDUE_SECONDS)

    @property
    def _scratch(self) -> FoldScratch:
        return self._made_run.scratch

    @property
    def _returncode(self) -> int | None:
        return self._made_run.returncode

    def _end_run(self) -> bool:
        return self._made_run.end()

    def _loss(self) -> str | None:
        process = self._made_run.process
        if process is None or process.killed_by is None:
            return None
        return f"the supervisor of {self.submission} was killed by {process.killed_by.name}"

    @contextlib.contextmanager
    def _log(self) -> Iterator[IO[bytes]]:
        yield self._made_run.log

    def cancel(self) -> None:
        """End the run early, with everything that it started; of it the logs are kept."""
        run = self._run
        if run is not None and run.process is not None and not run.log.closed and run.end():
            self._keep_logs()
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
