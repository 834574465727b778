"""The worker whose folds run on the nodes of a cluster, whatever its engine is."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from ramp_engine.base import Capability, WorkerStatus
from ramp_engine.errors import CollectError, WorkerLostError, WorkerSetupError
from ramp_engine.fold_process import FoldScratch, make_scratch, remove_tree
from ramp_engine.fold_worker import FoldWorker
from ramp_engine.remote.gateway.client import GatewayClient
from ramp_engine.remote.gateway.connection import GatewayConnection

__all__ = ["RemoteWorker"]

logger = logging.getLogger(__name__)

#: How long to wait until all processes of a run are gone from the nodes, in seconds.
GONE_SECONDS = 10.0


class RemoteWorker(FoldWorker):
    """Run the folds of a submission on the nodes of a cluster.

    Subclasses name the engine. Everything that is known of the cluster is in the gateway, a process
    that all workers of a dispatcher share.
    """

    capabilities: ClassVar[frozenset[Capability]] = frozenset(Capability)
    begins_early: ClassVar[bool] = True
    #: Which engine the gateway loads: ``dask``, ``ray``, or ``module:function``.
    engine: ClassVar[str]

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._run = uuid.uuid4().hex
        self._holder = uuid.uuid4().hex
        self._directories: FoldScratch | None = None
        self._gateway: GatewayConnection | None = None  # since setup
        self._connection: GatewayConnection | None = None  # while the run is ours
        self._own = contextlib.ExitStack()  # without a dispatcher
        self._end: dict[str, Any] = {}  # what the gateway said of it
        self._is_attached = False

    @classmethod
    @contextlib.contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[GatewayClient]:
        """Hold a gateway to the cluster.

        While there is none, since the cluster cannot be reached, refuses us or has other versions,
        that is tried again, and `setup` says why submissions have to wait.
        """
        with GatewayClient(cls.engine, config, is_patient=True) as client:
            yield client

    @classmethod
    def warm_up(cls, config: Mapping[str, Any], shared: Any) -> None:
        """Bring the bundle to the nodes, and have fold servers started there."""
        if isinstance(shared, GatewayClient):
            shared.ask("warm", bundle_dir=str(config["bundle_dir"]))

    @classmethod
    def give_up_waiting(cls, shared: Any) -> None:
        """Have nobody wait for the first connection to the cluster."""
        if isinstance(shared, GatewayClient):
            shared.give_up_waiting()

    @classmethod
    def fold_environment(cls, config: Mapping[str, Any], shared: Any) -> str:  # noqa: ARG003
        """Name packages and confinement on the nodes."""
        return shared.environment if isinstance(shared, GatewayClient) else ""

    def setup(self) -> None:
        """Check that everything is there, and make the directories of the run.

        Raises
        ------
        WorkerSetupError
            Bundle or submission are missing, or the disk refuses.
        ResourceUnavailableError
            The cluster cannot be reached just now.
        """
        self._require("setup", WorkerStatus.INITIALIZED)
        self._check_inputs()
        client = self._client()
        self._gateway = client.connection()
        self.sandbox = client.level
        self._directories = make_scratch(self._path("submissions_dir").parent)
        try:
            self._scratch.log.write_bytes(self._kept_folds())
        except OSError as error:
            raise WorkerSetupError(f"no room for the run's log: {error}") from error
        super().setup()

    def launch_submission(self) -> None:
        """Hand the folds to the gateway; one that has died just now counts as an interruption.

        Raises
        ------
        WorkerStateError
            The worker is not set up, or has launched its submission already.
        """
        self._require("launch_submission", WorkerStatus.SETUP)
        self._connection = self._made_gateway  # and no other, for `handle` has named this one
        try:
            self._connection.listen(self._run, self._hear)
            answer = self._connection.ask("run", **self._request())
        except WorkerLostError as error:
            self._hear({"said": "ended", "how": "interrupted", "message": str(error)})
        else:
            if answer.get("error"):
                raise WorkerSetupError(f"the gateway refuses the run: {answer['error']}")
        super().launch_submission()

    def _request(self) -> dict[str, Any]:
        return {
            "run": self._run,
            "holder": self._holder,
            "scratch": str(self._scratch.root),
            "tmp": str(self._scratch.tmp),
            "bundle_dir": str(self._path("bundle_dir")),
            "submission": str(self._submission_dir),
            "folds": list(self._numbers),
            "limit_seconds": self._timeout,
            "node": self.config.get("node"),
        }

    def _hear(self, header: dict[str, Any]) -> None:
        """Take what the gateway says of the run; in its reader's thread."""
        if header.get("said") == "ended" and not self._end:
            self._end = header
            self.interruption = str(header.get("message", ""))
        elif header.get("said") == "started":
            self.sandbox = header.get("level") or self.sandbox
        self.wake()

    # How it stands

    @property
    def _how(self) -> str:
        return str(self._end.get("how", ""))

    def _is_submission_interrupted(self) -> bool:
        return self._how == "interrupted" and "full" not in self._end

    def _is_submission_finished(self) -> bool:
        return self._how in ("done", "lost", "canceled") or "full" in self._end

    def check_timeout(self) -> bool:
        """Tell whether the gateway ended the run at its time limit.

        It counts from the start of the first fold on a node. Of a run that was taken over, the time
        that its dispatchers know of counts as well.
        """
        return self._how == "timeout" or (self._is_attached and super().check_timeout())

    @property
    def _scratch(self) -> FoldScratch:
        assert self._directories is not None  # noqa: S101  setup made it, or attach was told it
        return self._directories

    @property
    def _made_gateway(self) -> GatewayConnection:
        assert self._gateway is not None  # noqa: S101  setup found it, or attach
        return self._gateway

    @property
    def _returncode(self) -> int | None:
        code = self._end.get("returncode")
        return None if code is None else int(code)

    def _loss(self) -> str | None:
        return None if self._how in ("done", "timeout") else str(self._end.get("message", ""))

    def _facts(self) -> tuple[int, str]:
        if "full" in self._end:
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), self._end["full"])
            raise CollectError(self.interruption) from full
        return super()._facts()

    def _end_run(self) -> bool:
        return bool(self._end) or self._cancel(is_late=True, is_kept=True)

    def _cancel(self, **more: Any) -> bool:
        """End the run; tell whether it is gone from all nodes. Waits, but not for long."""
        connection = self._connection
        if connection is None:
            return True
        try:
            connection.ask("cancel", GONE_SECONDS, run=self._run, holder=self._holder, **more)
        except WorkerLostError as error:
            logger.warning("a run is not known to have ended: %s", error)
            return connection.is_lost
        return True

    # Its end

    def cancel(self) -> None:
        """End the run early, on all nodes; of it the logs are kept."""
        if self._connection is not None and self._cancel(is_kept=True):
            self._keep_logs()
        super().cancel()

    def teardown(self) -> None:
        """End the run and remove its directories; safe from any status, and twice."""
        if self._connection is not None:
            self._cancel()
        self._leave()
        if self._directories is not None:
            remove_tree(self._directories.root)
            remove_tree(self._directories.tmp)
            self._directories = None
        self._own.close()
        super().teardown()

    # Adoption

    def handle(self) -> str | None:
        """Name the gateway, the run and its directories."""
        return json.dumps(
            {
                "gateway": str(self._made_gateway.path),
                "run": self._run,
                "scratch": str(self._scratch.root),
                "tmp": str(self._scratch.tmp),
            }
        )

    def attach(self, handle: str) -> None:
        """Take over a run from the gateway that holds it; as in the base class."""
        self._require("attach", WorkerStatus.INITIALIZED)
        try:
            known = json.loads(handle)
            path, self._run = Path(known["gateway"]), str(known["run"])
            directories = FoldScratch(Path(known["scratch"]), Path(known["tmp"]))
        except (ValueError, KeyError, TypeError) as error:
            raise WorkerLostError(f"no run is called {handle!r:.200}") from error
        connection = self._client().connection_to(path)
        connection.listen(self._run, self._hear)
        try:
            answer = connection.ask("attach", run=self._run, holder=self._holder)
            if answer.get("error"):
                raise WorkerLostError(f"the run of {self.submission} is gone: {answer['error']}")
        except WorkerLostError:
            self._client().leave(connection, self._run, self._hear)
            raise
        if answer.get("end"):
            self._hear({"said": "ended", **answer["end"]})
        self._gateway = self._connection = connection
        self._directories = directories
        self._is_attached = True
        super().attach(handle)

    def detach(self) -> None:
        """Let go of the run, which belongs to another dispatcher by now; as in the base class."""
        if self._connection is not None:
            with contextlib.suppress(WorkerLostError):
                self._connection.ask("detach", run=self._run, holder=self._holder)
        self._leave()
        self._directories = None
        self._own.close()
        super().detach()

    def _leave(self) -> None:
        if self._connection is not None:
            self._client().leave(self._connection, self._run, self._hear)
            self._connection = None

    def _client(self) -> GatewayClient:
        if not isinstance(self.shared, GatewayClient):
            self.shared = self._own.enter_context(self.open_shared(self.config))
        client: GatewayClient = self.shared
        return client
