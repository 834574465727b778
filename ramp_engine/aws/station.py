"""What the dispatcher asks of an instance: `Station`.

The other side is `ramp_engine.evaluation.host`, where the operations are described.
"""

from __future__ import annotations

import contextlib
import io
import logging
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ramp_engine.aws import answers
from ramp_engine.aws.answers import Prepared, Report
from ramp_engine.aws.connection import Completed, Connection
from ramp_engine.aws.haste import Haste
from ramp_engine.aws.program import build_program
from ramp_engine.aws.taking import take_parcel
from ramp_engine.bundle_archive import BundleArchive, write_tar
from ramp_engine.errors import (
    CollectError,
    ConnectionLostError,
    ResourceUnavailableError,
    TransportError,
    WorkerLostError,
    WorkerSetupError,
)
from ramp_engine.fold_process import FoldScratch
from ramp_engine.sandbox import SandboxKeys, judge

__all__ = ["Connection", "Prepared", "Report", "RunRequest", "Station"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

#: Where everything of ours is on an instance, relative to the login's folder.
ROOT = ".ramp"
#: Time between two tries to reach an instance: the first, and the longest, in seconds.
FIRST_BACK_OFF_SECONDS, MAX_BACK_OFF_SECONDS = 1.0, 15.0
#: How long a command may take, in seconds; what is not listed: the last.
_SECONDS = {"prepare": 600.0, "pack": 600.0, "wipe": 120.0, "start": 120.0, "status": 30.0}
_OTHER_SECONDS = 60.0
#: A connection that is lost at the very end is tried again for so long, in seconds.
WIPE_PATIENCE = 15.0
#: Files have so long, and a second more for each so many bytes.
_FILE_SECONDS, _BYTES_A_SECOND = 60.0, 100_000
_NO_SUCH_PROGRAM = b"can't open file"
_COMMAND_NOT_FOUND = 127


@dataclass(frozen=True)
class RunRequest:
    """A run of the fold step on an instance."""

    run: str  #: its id, of word characters
    prepared: Prepared
    submission: Path  #: the participant's files
    sandbox: Mapping[str, Any]  #: as `Prepared.spec` gives it
    timeout_seconds: float | None  #: of the whole run
    orphan_seconds: float  #: it ends when nobody has asked about it for so long
    folds: Sequence[int] | None = None  #: None: all
    n_threads: int | None = None  #: in total; None: as many as the libraries take
    n_jobs: int = 1  #: folds at a time
    gpus: Sequence[str] = ()


class Station:
    """One instance, seen from here; used by one thread.

    Parameters
    ----------
    connection : Connection
        To the instance.
    is_connected : bool
        Whether it is connected already; else the first command connects.
    patience_seconds : float
        A connection that is lost is tried again for so long, with back-off; then the instance
        counts as lost. What was asked may then have been done or not.
    haste : Haste, optional
        Ends the patience, and bounds what is under way.
    check : callable
        Asked before something is tried again: raises what there is to say of an instance that will
        never answer.

    Notes
    -----
    All methods raise `WorkerLostError` when patience is at its end, `HostKeyError` and
    `AuthenticationError` at once, `ResourceUnavailableError` when the instance's disk is full, and
    `WorkerSetupError` when what runs there has failed in a way that nobody expects.

    An instance belongs to the station that has prepared or taken it last: others can change nothing
    there, and get `TakenOverError`.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        patience_seconds: float,
        is_connected: bool = False,
        haste: Haste | None = None,
        check: Callable[[], None] = lambda: None,
        back_off_seconds: float = FIRST_BACK_OFF_SECONDS,
    ) -> None:
        self._connection = connection
        self._patience_seconds = patience_seconds
        self._haste = haste or Haste()
        self._check = check
        self._back_off_seconds = back_off_seconds
        #: Whether there is no connection (yet), or it has failed.
        self.is_broken = not is_connected
        self._name = uuid.uuid4().hex

    # Its operations

    def prepare(self, config: Mapping[str, Any], archive: BundleArchive) -> Prepared:
        """Bring program and bundle there, as far as they are missing, and look what there is.

        Parameters
        ----------
        config : mapping
            Of the worker: ``conda_env`` or ``python`` on the instance, and `SandboxKeys`.
        archive : BundleArchive

        Raises
        ------
        WorkerSetupError
            The event's environment is missing there, or Python.
        SandboxError
            Confinement is required, and the instance does not offer it.
        ResourceUnavailableError
            There is no room for the bundle.
        """
        environment = {key: config[key] for key in ("conda_env", "python") if config.get(key)}
        keys = SandboxKeys.of(config)
        request: dict[str, Any] = {
            "op": "prepare",
            "environment": environment,
            "bundle": archive.bundle.to_json(),
        }
        request["readable"] = [str(path) for path in keys.extra_read_paths]
        request["user"] = None if keys.sandbox == "off" else keys.sandbox_user
        answer = self._persist(lambda: self._ask(request))
        if answer.get("needs"):
            self._check_room(archive)
            sha256 = archive.bundle.sha256
            self._send(
                lambda seconds: self._connection.put(
                    archive.path, f"{ROOT}/incoming/{sha256}.tar", timeout_seconds=seconds
                ),
                archive.bundle.n_bytes,
            )
            answer = self._persist(lambda: self._ask(request))
            if answer.get("needs"):
                raise WorkerLostError("the bundle was sent, and is not on the instance")
        prepared = answers.read_prepared(answer, archive.bundle.sha256)
        judge(prepared.sandbox, keys, "the instance")
        return prepared

    def take(self) -> None:
        """Hold the instance from now on, which another station has prepared."""
        self._persist(lambda: self._ask({"op": "take"}))

    def _check_room(self, archive: BundleArchive) -> None:
        said = self._persist(lambda: self._ask({"op": "hello"}))
        free_mb = answers.read_free_mb(said)
        need_mb = 2 * archive.bundle.n_bytes >> 20  # the archive, and what is in it
        if free_mb < need_mb:
            reason = (
                f"the instance has {free_mb} MB of disk left, and the bundle needs {need_mb} MB"
            )
            raise ResourceUnavailableError(reason, "Take an image with a larger volume")

    def start(self, request: RunRequest) -> None:
        """Start a run, unless that was done before.

        Raises
        ------
        WorkerSetupError
            It cannot be started.
        ResourceUnavailableError
            There is no room for it.
        """
        content = _packed(request.submission)
        sent = answers.describe(content)
        asked = {
            "op": "start",
            "run": request.run,
            "python": request.prepared.python,
            "bundle": request.prepared.bundle,
            "folds": None if request.folds is None else list(request.folds),
            "n_threads": request.n_threads,
            "n_jobs": request.n_jobs,
            "sandbox": dict(request.sandbox),
            "gpus": list(request.gpus),
            "timeout_seconds": request.timeout_seconds,
            "orphan_seconds": request.orphan_seconds,
            "submission": sent,
        }
        target = f"{ROOT}/incoming/{sent['sha256']}.tar"
        self._send(
            lambda seconds: self._connection.put_bytes(content, target, timeout_seconds=seconds),
            len(content),
        )
        self._persist(lambda: self._ask(asked))

    def status(self, run: str, log_offset: int | None, done: Collection[int]) -> Report:
        """Ask how a run stands: once, with one command; a lost connection is not tried again.

        Parameters
        ----------
        run : str
        log_offset : int or None
            So many bytes of its log are known; None: no more are wanted.
        done : collection of int
            Folds that are known to be done.

        Raises
        ------
        TransportError
            The instance does not answer just now, or not what makes sense; the next call connects
            anew.
        """
        request = {"op": "status", "run": run, "log_offset": log_offset, "done": sorted(done)}
        return answers.read_report(self._once(lambda: self._ask(request)))

    def fetch(
        self,
        run: str,
        folds: Collection[int] | None,
        *,
        is_whole: bool,
        target: FoldScratch,
        max_bytes: int,
        log_head: bytes = b"",
    ) -> None:
        """Fetch what a run has left, as far as it is there; what comes is taken as data.

        Parameters
        ----------
        run : str
        folds : collection of int or None
            Those whose outputs are fetched; None: all. Each appears as a whole.
        is_whole : bool
            Whether logs and result are fetched as well; the run has ended.
        target : FoldScratch
        max_bytes : int
            The most that is taken in all.
        log_head : bytes
            Comes before the run's own log. Who has the log open sees it grow to the whole.

        Raises
        ------
        CollectError
            It is not what was asked for, or too much; or the disk here refuses.
        """
        request = {"op": "pack", "run": run, "whole": is_whole}
        request["folds"] = None if folds is None else sorted(folds)

        def transfer() -> None:
            answer = self._ask(request)
            sent = answers.read_parcel(answer, ROOT, max_bytes)
            seconds = _seconds_for(sent.n_bytes)
            take_parcel(
                lambda path: self._connection.get(
                    sent.file, path, max_bytes=sent.n_bytes, timeout_seconds=seconds
                ),
                sent,
                target,
                folds=folds,
                own=log_head if is_whole else None,
                max_bytes=max_bytes,
            )

        try:
            self._persist(transfer)
        except OSError as error:
            raise CollectError(f"what came of run {run} cannot be written: {error}") from error

    def end(self, run: str) -> bool:
        """End a run; tell whether it is gone."""
        return bool(self._persist(lambda: self._ask({"op": "end", "run": run})).get("gone"))

    def wipe(self, keep: Collection[str] | None = None) -> bool:
        """Remove everything of ours but some bundles; tell whether the instance is as new.

        One that does not answer soon is better ended than waited for.

        Parameters
        ----------
        keep : collection of str, optional
            Hashes of their archives; default: all are kept.
        """
        kept = None if keep is None else sorted(keep)
        request = {"op": "wipe", "keep_bundles": kept}
        said = self._persist(lambda: self._ask(request), min(self._patience_seconds, WIPE_PATIENCE))
        if not said.get("is_clean"):
            logger.info("the instance is not clean: %s", said.get("left"))
        return said.get("is_clean") is True

    # How it is asked

    def _send(self, put: Callable[[float], None], n_bytes: int) -> None:
        def send() -> None:
            with _room_there():
                put(_seconds_for(n_bytes))

        self._persist(send)

    def _persist(self, work: Callable[[], T], seconds: float | None = None) -> T:
        """Do something, again and again while the connection is lost and patience lasts.

        Raises
        ------
        WorkerLostError
            Patience is at its end.
        """
        patience = self._patience_seconds if seconds is None else seconds
        until = time.monotonic() + patience
        back_off = self._back_off_seconds
        while True:
            try:
                return self._once(work)
            except ConnectionLostError as error:
                self._check()
                if time.monotonic() + back_off > until or self._haste.wish.is_set():
                    reason = f"the instance has not answered for {patience:g} s"
                    raise WorkerLostError(f"{reason}: {error}") from error
                logger.info("the instance does not answer, it is tried again: %s", error)
            self._haste.wish.wait(back_off)
            back_off = min(2 * back_off, MAX_BACK_OFF_SECONDS)

    def _once(self, work: Callable[[], T]) -> T:
        try:
            with self._haste.bound(self._connection.close):
                if self.is_broken:
                    self._connection.connect()
                    self.is_broken = False
                return work()
        except ConnectionLostError:
            self.is_broken = True
            raise

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Have a command answered; the program is sent when it is not there."""
        completed = self._run(request)
        if completed.returncode and _NO_SUCH_PROGRAM in completed.stderr:
            self._install()
            completed = self._run(request)
        if completed.returncode == _COMMAND_NOT_FOUND:
            raise WorkerSetupError("there is no python3 on the instance", "Take another image")
        return answers.read_answer(completed.returncode, completed.stdout, completed.stderr)

    def _run(self, request: Mapping[str, Any]) -> Completed:
        command = ["python3", "-I", "-S", f"{ROOT}/{build_program().file_name}"]
        seconds = _SECONDS.get(str(request["op"]), _OTHER_SECONDS)
        content = answers.encode({**request, "holder": self._name})
        return self._connection.run(command, content, timeout_seconds=seconds)

    def _install(self) -> None:
        """Send the program.

        Raises
        ------
        ResourceUnavailableError
            There is no room for it.
        WorkerSetupError
            The login's folder cannot be written.
        """
        made = self._connection.run(["mkdir", "-p", "-m", "700", ROOT, f"{ROOT}/incoming"])
        if made.returncode:
            answers.refuse_folder(made.stderr)
        program = build_program()
        target = f"{ROOT}/{program.file_name}"
        with _room_there():
            self._connection.put_bytes(program.content, target, timeout_seconds=_FILE_SECONDS)


@contextlib.contextmanager
def _room_there() -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        if not error.is_full:
            raise
        reason = f"the instance's disk is full: {error.reason}"
        raise ResourceUnavailableError(reason, error.hint) from error


def _packed(submission: Path) -> bytes:
    buffer = io.BytesIO()
    try:
        write_tar(submission, buffer, follow_links=False)
    except OSError as error:
        raise WorkerSetupError(f"the submission cannot be read: {error}") from error
    return buffer.getvalue()


def _seconds_for(n_bytes: int) -> float:
    return _FILE_SECONDS + n_bytes / _BYTES_A_SECOND
