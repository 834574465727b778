"""The worker that runs submissions on a machine of one's own, by SSH."""

from __future__ import annotations

import io
import logging
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from pydantic import BaseModel

from ramp_engine.base import BaseWorker
from ramp_engine.bundle_archive import pack
from ramp_engine.errors import (
    ConnectionLostError,
    ResourceUnavailableError,
    TransportError,
    WorkerError,
    WorkerLostError,
)
from ramp_engine.fold_step import FoldStep
from ramp_engine.transports.ssh import HostKey, SshConnection, SshTarget
from ramp_worker_ssh import scripts
from ramp_worker_ssh.config import SshWorkerConfig

__all__ = ["SshWorker"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
MAX_BYTES = 16 << 30  # of what a run may leave


class SshWorker(BaseWorker):
    """Run each submission in a folder of its own on the machine that the event's file names."""

    config_model: ClassVar[type[BaseModel] | None] = SshWorkerConfig

    def __init__(self, config: Mapping[str, Any], submission: str) -> None:
        super().__init__(config, submission)
        self._keys = SshWorkerConfig.of(config)
        target = SshTarget(self._keys.host, self._keys.user, self._keys.key_path, self._keys.port)
        self._host = SshConnection(target, [HostKey.parse(self._keys.host_key)])
        self._folder = f"{self._keys.folder}/run-{secrets.token_hex(8)}"
        self._step = FoldStep(self.config, submission, Path(self._folder))
        self._bundle, self._code, self._is_there = "", "", False

    def setup(self) -> None:
        """Bring the bundle, once for all submissions, and what is run of this one."""
        archive = pack(Path(self.config["bundle_dir"]), Path(self.config["work_dir"], "packed"))
        self._bundle = f"{self._keys.folder}/bundle-{archive.bundle.sha256}"
        try:
            self._host.connect()
        except ConnectionLostError as error:
            raise ResourceUnavailableError(str(error), "Submissions wait for it") from error
        self._is_there = True
        if self._ask(scripts.MAKE, self._folder, self._bundle) != "yes":
            self._persist(lambda: self._host.put(archive.path, f"{self._folder}/bundle.tar"))
        files = io.BytesIO()
        self._step.write_tar(files)
        self._persist(lambda: self._host.put_bytes(files.getvalue(), f"{self._folder}/run.tar"))
        self._ask(scripts.UNPACK, self._folder, self._bundle)
        self.sandbox = self._keys.confinement
        super().setup()

    def launch_submission(self) -> None:
        """Start the folds, detached: a connection that breaks does not end them."""
        super().launch_submission()  # first, since it refuses a second launch
        keys, bundle = self._keys, Path(self._bundle)
        command = self._step.command(keys.python, bundle, level=keys.confinement, life_fd=3)
        self._ask(scripts.START, self._folder, *command)

    def _is_submission_finished(self) -> bool:
        self._code = self._ask(scripts.CODE, self._folder)
        if self._code and not self._code.isdigit():
            raise WorkerLostError(f"{self._host.target} has lost the run: was it started anew?")
        return self._code != ""

    def collect_results(self) -> tuple[int, str]:
        """Fetch what the run has left, which is taken as data."""
        super().collect_results()
        self._ask(scripts.PACK, self._folder, *FoldStep.left)
        with tempfile.TemporaryDirectory(dir=self.config["work_dir"]) as here:
            left, source = Path(here, "left.tar"), f"{self._folder}/left.tar"
            self._persist(lambda: self._host.get(source, left, max_bytes=MAX_BYTES))
            answer = self._step.collect(left, int(self._code))
        self.status = "collected"
        return answer

    def teardown(self) -> None:
        """End the run with everything that it has started, and remove its folder."""
        try:
            if self._is_there:
                self._ask(scripts.END, self._folder)
                self._is_there = False
        except WorkerError as error:
            logger.warning("%s is left behind: %s", self._folder, error)
        self._host.close()
        super().teardown()

    def _ask(self, script: str, *words: str) -> str:
        command = ["sh", "-c", script, "sh", *words]
        done = self._persist(lambda: self._host.run(command, timeout_seconds=600))
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()
            raise TransportError(f"{self._host.target}: {said or 'a command failed there'}")
        return done.stdout.decode(errors="replace").strip()

    def _persist(self, work: Callable[[], T]) -> T:
        """Do something over there; when the connection has broken, connect and do it once more."""
        try:
            return work()
        except ConnectionLostError:
            try:
                self._host.connect()
                return work()
            except ConnectionLostError as error:
                reason = f"{self._host.target} cannot be reached any more: {error.reason}"
                raise WorkerLostError(reason, "The submission is run again") from error
