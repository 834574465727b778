"""The worker that runs a submission on an EC2 instance of its own."""

from __future__ import annotations

import contextlib
import json
import logging
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.fleet import Fleet
from ramp_engine.aws.haste import Haste
from ramp_engine.aws.instances import Owner
from ramp_engine.aws.lease import Lease
from ramp_engine.aws.ledger import Ledger, forecast
from ramp_engine.aws.memory import tell_peaks
from ramp_engine.aws.online import check_online
from ramp_engine.aws.reaper import reap
from ramp_engine.aws.run_watch import RunWatch
from ramp_engine.aws.shared import Shared
from ramp_engine.aws.station import Prepared, RunRequest
from ramp_engine.base import Capability, IsLive, WorkerStatus
from ramp_engine.bundle_archive import BundleArchive, pack
from ramp_engine.errors import (
    CollectError,
    RampError,
    WorkerError,
    WorkerLostError,
    WorkerSetupError,
)
from ramp_engine.evaluation.scratch import SERVERS, scratch_directory
from ramp_engine.fold_outputs import MAX_TOTAL_BYTES, is_tested, read_result
from ramp_engine.fold_process import FoldScratch, folds_in_flight, make_scratch, remove_tree
from ramp_engine.fold_worker import FoldWorker
from ramp_engine.outcome import EXIT_KIT, EXIT_OURS
from ramp_engine.sandbox import SandboxKeys
from ramp_engine.transports.ssh import check_private_key

__all__ = ["AWSWorker"]

logger = logging.getLogger(__name__)

#: A run that is over its time limit by so much is ended from here, in seconds.
OVERDUE_SECONDS = 60.0


class AWSWorker(FoldWorker):
    """Run the folds of a submission on an instance that is its own for that time."""

    config_model: ClassVar[type[BaseModel] | None] = AWSWorkerConfig
    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    reaps: ClassVar[bool] = True

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._settings = AWSWorkerConfig.of(config)
        self._run = uuid.uuid4().hex
        self._directories: FoldScratch | None = None
        self._lease: Lease | None = None
        self._archive: BundleArchive | None = None
        self._prepared: Prepared | None = None
        self._watch: RunWatch | None = None  # since the launch
        self._has_all = False  # whether everything that the run has left was fetched
        self._haste = Haste()
        self._own = contextlib.ExitStack()  # without a dispatcher

    @classmethod
    @contextlib.contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[Shared]:
        """Hold the instances of a dispatcher; all that it still has are terminated with the block.

        Raises
        ------
        WorkerSetupError
            boto3 is missing, credentials are, or the disk refuses.
        """
        parent = Path(config["work_dir"], "scratch")
        ledger = Ledger(Path(config["logs_dir"]), AWSWorkerConfig.of(config))
        with contextlib.ExitStack() as stack:
            try:
                packed = stack.enter_context(scratch_directory(parent, SERVERS))
            except OSError as error:
                raise WorkerSetupError(f"no room for the packed bundle: {error}") from error
            yield Shared(stack.enter_context(Fleet(config, ledger)), packed)

    @classmethod
    def give_up_waiting(cls, shared: Any) -> None:
        """Have nobody wait any longer for an instance that starts, or that does not answer."""
        if isinstance(shared, Shared):
            shared.end_waits()

    @classmethod
    def reap(cls, config: Mapping[str, Any], shared: Any, is_live: IsLive) -> None:
        """Terminate instances of the event that nobody answers for, and cancel spot requests."""
        reap(config, shared.fleet if isinstance(shared, Shared) else None, is_live)

    @classmethod
    def usage(cls, config: Mapping[str, Any]) -> str | None:
        """Tell what the event has used of the day's budget; None where it has none."""
        return forecast(config)

    @classmethod
    def check_online(cls, config: Mapping[str, Any]) -> Sequence[str]:
        """Ask AWS whether everything that is configured is there and allowed; nothing starts."""
        return [f"{what}: {problem}" for what, problem in check_online(config)]

    @classmethod
    def fold_environment(cls, config: Mapping[str, Any], shared: Any) -> str:  # noqa: ARG003
        """Name the image; empty while AWS does not tell."""
        if isinstance(shared, Shared):
            with contextlib.suppress(WorkerError):  # setup tells it
                return shared.fleet.ec2.image()
        return ""

    # Its start

    def setup(self) -> None:
        """Get an instance, reach it, and bring the bundle there.

        Raises
        ------
        WorkerSetupError
            Something is missing here, in the account or on the image.
        ResourceUnavailableError
            There is no instance to be had just now, or the budget of the day is spent.
        TransportError
            What answers is another machine, or the connection broke.
        """
        self._require("setup", WorkerStatus.INITIALIZED)
        self._check_inputs()
        check_private_key(self._settings.key_path)
        shared = self._shared()
        self._make_directories()
        self._archive = pack(self._path("bundle_dir"), shared.packed_dir)
        instance = shared.fleet.obtain(self._owner, stopping=self._haste.wish)
        self._lease = lease = Lease(shared.fleet, instance, self._settings, self._haste)
        lease.connect()
        with lease.judging():
            self._prepared = lease.station.prepare(self.config, self._archive)
        self.sandbox = self._prepared.level
        self._prepared.gpus(self._settings.gpus)  # it is no use to go on without them
        super().setup()

    @property
    def _owner(self) -> Owner:
        """Whose the instance is; 0 where there is no dispatcher."""
        config = self.config
        return Owner(
            deployment=str(config.get("deployment", "")),
            event=str(config.get("event", "")),
            dispatcher=int(config.get("dispatcher_id", 0)),
            submission=int(config.get("submission_id", 0)),
            attempt=int(config.get("attempt", 0)),
        )

    def _make_directories(self) -> None:
        self._directories = make_scratch(self._path("submissions_dir").parent)
        try:
            self._directories.log.write_bytes(self._kept_folds())
        except OSError as error:
            raise WorkerSetupError(f"no room for the run's log: {error}") from error

    def launch_submission(self) -> None:
        """Start the folds on the instance.

        Raises
        ------
        WorkerStateError
            The worker is not set up, or has launched its submission already.
        WorkerSetupError, WorkerLostError
            The instance refuses, or is gone.
        """
        self._require("launch_submission", WorkerStatus.SETUP)
        with self._held.judging():
            self._held.station.start(self._request())
        self._watch = self._new_watch()
        super().launch_submission()

    def _request(self) -> RunRequest:
        prepared, bundle = self._prepared, self._path("bundle_dir")
        assert prepared is not None  # noqa: S101  setup was called
        n_jobs = int(self.config.get("n_jobs_per_submission", 1))
        spec = prepared.spec(SandboxKeys.of(self.config), folds_in_flight(bundle, n_jobs))
        return RunRequest(
            run=self._run,
            prepared=prepared,
            submission=self._submission_dir,
            folds=self.config.get("folds"),
            n_threads=self.config.get("n_threads"),
            n_jobs=n_jobs,
            sandbox=spec,
            gpus=prepared.gpus(self._settings.gpus),
            timeout_seconds=self._timeout,
            orphan_seconds=self._settings.adopt_within_seconds,
        )

    def _new_watch(self) -> RunWatch:
        return RunWatch(
            self._held.station,
            self._run,
            self._scratch.log,
            lambda: self._held.state,
            seconds=float(self.config.get("time_between_collection", 1.0)),
            patience_seconds=self._settings.patience_seconds,
        )

    # How it stands

    def _poll(self) -> None:
        self._made_watch.look()
        self.interruption = self._made_watch.interruption
        super()._poll()

    def _is_submission_interrupted(self) -> bool:
        return bool(self._made_watch.interruption)

    def _is_submission_finished(self) -> bool:
        return self._made_watch.is_over and not self.check_timeout()

    def check_timeout(self) -> bool:
        """Tell whether the supervisor there ended the run at its time limit, or should have.

        Of a run that cannot be asked about nobody knows: it may have ended in time.
        """
        watch = self._watch
        is_asked = watch is not None and watch.returncode is None
        if watch is not None and is_asked and (watch.loss or not watch.is_reachable):
            return False
        return self._is_out_of_time(OVERDUE_SECONDS)

    @property
    def _returncode(self) -> int | None:
        return None if self._watch is None else self._watch.returncode

    def _loss(self) -> str | None:
        watch = self._made_watch
        if watch.has_full_disk and self._is_cut_short:
            return (
                "the folds have left the instance's disk full: take an image with a larger volume"
            )
        return watch.loss or watch.interruption or None

    @property
    def _is_cut_short(self) -> bool:
        is_ours = self._returncode in (EXIT_KIT, EXIT_OURS)
        return is_ours or read_result(self._scratch.result) is None

    @property
    def _scratch(self) -> FoldScratch:
        assert self._directories is not None  # noqa: S101  setup or attach made them
        return self._directories

    @property
    def _held(self) -> Lease:
        assert self._lease is not None  # noqa: S101  setup or attach made it
        return self._lease

    @property
    def _made_watch(self) -> RunWatch:
        assert self._watch is not None  # noqa: S101  the status says that the run has begun
        return self._watch

    # Collecting

    def collect_done_folds(self) -> Collection[int]:
        """Fetch the folds that are done, and hand them over; as in the base class."""
        watch = self._watch
        if watch is not None and watch.is_reachable and not self._has_all:
            missing = [
                number for number in watch.done if not is_tested(self._scratch.output, number)
            ]
            if missing:
                self._fetch(missing, is_whole=False)
        return super().collect_done_folds()

    def _fetch(self, folds: Sequence[int] | None, *, is_whole: bool) -> None:
        self._held.station.fetch(
            self._run,
            folds,
            is_whole=is_whole,
            target=self._scratch,
            max_bytes=MAX_TOTAL_BYTES,
            log_head=self._kept_folds(),
        )

    def _end_run(self) -> bool:
        """End the run, which may have ended, and fetch what it has left."""
        watch = self._made_watch
        if watch.loss or watch.interruption or self._has_all:
            return True  # nothing more is to be had; what is still there goes with the instance
        with self._held.judging():
            has_ended = self._held.station.end(self._run)
            if has_ended:
                self._fetch(None, is_whole=True)
                self._has_all = True
        if has_ended and self._settings.memory_profiling:
            self._tell_peaks()
        return has_ended

    def _tell_peaks(self) -> None:
        try:
            tell_peaks(self._scratch.result, self._scratch.log)
        except OSError as error:
            raise CollectError(f"the log cannot be completed: {error}") from error

    # Its end

    def cancel(self) -> None:
        """End the run early, with everything that it started; of it the logs are kept."""
        watch = self._watch
        if watch is not None:
            if watch.is_reachable:
                with contextlib.suppress(RampError):
                    self._end_run()
            self._keep_logs()
        super().cancel()

    def teardown(self) -> None:
        """Wipe the instance for the next submission, or end it; safe from any status, and twice."""
        if self._lease is not None:
            is_well = self._watch is None or self._watch.is_well
            keep = () if self._archive is None else [self._archive.bundle.sha256]
            self._lease.give_back(keep, is_well=is_well)
        self._leave()
        super().teardown()

    def wake(self) -> None:
        """End all waits, for an instance or its answers too: the run is to end."""
        self._haste.make()
        super().wake()

    def _leave(self) -> None:
        self._lease = self._watch = None
        if isinstance(self.shared, Shared):
            self.shared.leave(self._haste)
        if self._directories is not None:
            remove_tree(self._directories.root)
            remove_tree(self._directories.tmp)
            self._directories = None
        self._own.close()

    # Adoption

    def handle(self) -> str | None:
        """Name the instance, the key of its SSH server, and the run."""
        instance = self._held.instance
        known = {"instance": instance.id, "host_key": instance.host_key, "run": self._run}
        return json.dumps(known | {"level": self.sandbox})

    def attach(self, handle: str) -> None:
        """Take over a run and its instance; as in the base class."""
        self._require("attach", WorkerStatus.INITIALIZED)
        try:
            known = json.loads(handle)
            instance_id, self._run = str(known["instance"]), str(known["run"])
            host_key, self.sandbox = str(known["host_key"]), known["level"]
        except (ValueError, KeyError, TypeError) as error:
            raise WorkerLostError(f"no run is called {handle!r:.200}") from error
        self._make_directories()
        fleet = self._shared().fleet
        instance = fleet.find(instance_id, self._owner)
        instance.host_key = host_key
        self._lease = Lease(fleet, instance, self._settings, self._haste)
        try:
            self._lease.connect()
            self._lease.station.take()
        except (WorkerError, ValueError) as error:
            raise WorkerLostError(f"the run of {self.submission} is lost: {error}") from error
        self._watch = self._new_watch()
        self._watch.look()
        if self._watch.loss:
            raise WorkerLostError(self._watch.loss)
        super().attach(handle)

    def detach(self) -> None:
        """Let go of run and instance, which belong to another dispatcher by now."""
        if self._lease is not None:
            self._lease.let_go()
        self._leave()
        super().detach()

    def _shared(self) -> Shared:
        if not isinstance(self.shared, Shared):
            self.shared = self._own.enter_context(self.open_shared(self.config))
        shared: Shared = self.shared
        shared.enter(self._haste)
        return shared
