"""A dispatcher's gateway: started, asked, and started again when it has died."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from ramp_engine.errors import ResourceUnavailableError, WorkerLostError, WorkerSetupError
from ramp_engine.remote.frames import FrameError, receive, send
from ramp_engine.remote.gateway.clients import connect
from ramp_engine.remote.gateway.connection import GatewayConnection, Listener
from ramp_engine.remote.gateway.folders import gateways_of, sweep
from ramp_engine.remote.known_facts import KnownFacts

__all__ = ["GatewayClient"]

logger = logging.getLogger(__name__)

#: How long to wait before a gateway that has died is started again: at first, and at most, in
#: seconds; it doubles.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
#: How long connecting to a cluster may take, with environments that nodes make, in seconds.
READY_SECONDS = 1800.0
#: How long who is patient waits for the first try to connect, which then goes on, in seconds.
FIRST_SECONDS = 300.0
#: How long a gateway may take to end, in seconds.
END_SECONDS = 60.0
#: So many lines of its log are quoted.
N_LINES = 6


class GatewayClient:
    """The gateway of a dispatcher; enter it before use.

    Parameters
    ----------
    engine : str
        ``dask``, ``ray``, or ``module:function``.
    config : mapping
        Of the worker.
    is_patient : bool
        Whether it can be entered while the cluster is away: that is tried again until it is there,
        and workers are told why they have to wait.
    """

    def __init__(self, engine: str, config: Mapping[str, Any], *, is_patient: bool = False) -> None:
        self._engine, self._config, self._is_patient = engine, config, is_patient
        self._work_dir = Path(config["work_dir"])
        self._log = self._work_dir / "gateway.log"
        self._log_start = 0
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: GatewayConnection | None = None
        self._others: dict[str, GatewayConnection] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._starting: socket.socket | None = None  # to a gateway that is not ready
        self._beginner: threading.Thread | None = None  # starts one again
        self._has_tried = threading.Event()
        self._facts = KnownFacts(config)
        self._faults: set[str] = set()  # why nodes get no folds
        self._problem = "connecting takes long"

    def __enter__(self) -> Self:
        """Start it; for the patient, in the background.

        Raises
        ------
        WorkerSetupError
            The cluster cannot be reached, refuses us, or has other versions; not to the patient.
        """
        self._work_dir.mkdir(parents=True, exist_ok=True)
        sweep(self._work_dir)
        if self._is_patient:
            begin = partial(self._begin_again, 0.0)
            self._beginner = threading.Thread(target=begin, name="gateway-start", daemon=True)
            self._beginner.start()
        else:
            self._begin()
            self._has_tried.set()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and all that it runs for us."""
        self.give_up_waiting()
        with self._lock:
            self._closing.set()
            connection, process = self._connection, self._process
            if self._starting is not None and process is not None:
                _hang_up(self._starting)
                process.terminate()  # whatever it waits for: it has nothing to lose
        if self._beginner is not None:
            self._beginner.join(2 * END_SECONDS)
        if connection is not None:
            with contextlib.suppress(WorkerLostError):
                connection.ask("bye")
            connection.close()
        for other in list(self._others.values()):
            other.close()
        if process is not None:
            _end(process)
        self._remove_folder()

    def give_up_waiting(self) -> None:
        """Have nobody wait for the first try to connect any more. From any thread."""
        self._has_tried.set()

    # What workers ask; all of it waits for the end of the first try to connect

    @property
    def level(self) -> str | None:
        """The weakest confinement on any node; None while no node is known."""
        self._has_tried.wait(FIRST_SECONDS)
        return self._facts["level"] or None

    @property
    def environment(self) -> str:
        """Name what folds on the nodes depend on; while there are none, on those there were last.

        Otherwise folds that are done would count as made with something else, and run again,
        whenever the cluster was away.
        """
        self._has_tried.wait(FIRST_SECONDS)
        return self._facts["environment"]

    @property
    def pid(self) -> int | None:
        """Of the gateway's process; None while there is none."""
        return None if self._process is None else self._process.pid

    def connection(self) -> GatewayConnection:
        """Give the connection to the gateway.

        Raises
        ------
        ResourceUnavailableError
            There is none just now: why.
        """
        self._has_tried.wait(FIRST_SECONDS)
        with self._lock:
            if self._connection is None or self._connection.is_lost:
                reason = f"the cluster cannot be reached: {self._problem}"
                raise ResourceUnavailableError(reason, "It is tried again")
            return self._connection

    def connection_to(self, path: Path) -> GatewayConnection:
        """Give the connection to a gateway: this one, or that of another dispatcher.

        Raises
        ------
        WorkerLostError
            There is no such gateway any more.
        """
        with self._lock:
            own = self._connection
            if own is not None and path == own.path and not own.is_lost:
                return own
            known = self._others.get(str(path))
            if known is None or known.is_lost:
                try:
                    channel = connect(path)
                except OSError as error:
                    raise WorkerLostError(f"the gateway at {path} is gone: {error}") from error
                known = GatewayConnection(channel, path, lambda _: None, lambda _: None)
                self._others[str(path)] = known
            return known

    def leave(self, connection: GatewayConnection, run: str, listener: Listener) -> None:
        """Hear no more of a run; the gateway of another dispatcher is left with the last one."""
        if connection.ignore(run, listener) == 0 and connection is not self._connection:
            connection.close()

    def ask(self, op: str, timeout_seconds: float = 60.0, **more: Any) -> dict[str, Any]:
        """Ask the gateway, such as for its ``nodes``.

        Raises
        ------
        ResourceUnavailableError
            There is none just now.
        WorkerLostError
            It has died, or does not answer in time.
        """
        return self.connection().ask(op, timeout_seconds, **more)

    # Its process

    def _begin(self) -> None:
        gateways = gateways_of(self._work_dir)
        try:
            gateways.mkdir(exist_ok=True)
            folder = self._folder = Path(tempfile.mkdtemp(dir=gateways))
            ours, theirs = socket.socketpair()
            with theirs, self._log.open("ab") as log:
                self._log_start = log.tell()
                process = self._process = self._start(folder, theirs, log.fileno())
        except OSError as error:
            self._remove_folder()
            raise WorkerSetupError(f"the gateway cannot be started: {error}") from error
        try:
            facts = self._await_ready(ours)
            with self._lock:
                self._starting = None
                self._check_open()
                self._note(facts)
                path = folder / "socket"
                self._connection = GatewayConnection(ours, path, self._said, self._lost)
        except BaseException:
            self._starting = None
            ours.close()
            _end(process)
            self._remove_folder()
            raise

    def _check_open(self) -> None:
        if self._closing.is_set():
            raise WorkerSetupError("the dispatcher ends")

    def _remove_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _start(self, folder: Path, theirs: socket.socket, log: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ramp_engine.remote.gateway", "--engine", self._engine]
        command += ["--folder", str(folder), "--client-fd", str(theirs.fileno())]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )

    def _await_ready(self, channel: socket.socket) -> dict[str, Any]:
        with self._lock:
            self._check_open()
            self._starting = channel
        channel.settimeout(READY_SECONDS)
        try:
            send(
                channel, {"op": "open", "config": json.loads(json.dumps(self._config, default=str))}
            )
            frame = receive(channel)
        except (OSError, FrameError) as error:
            reason = f"the gateway does not begin: {error}{self._last_lines()}"
            raise WorkerSetupError(reason) from error
        if frame is None:
            raise WorkerSetupError(f"the gateway has died at its start{self._last_lines()}")
        if frame.header.get("said") != "ready":
            reason, hint = frame.header.get("reason", ""), frame.header.get("hint", "")
            raise WorkerSetupError(str(reason), str(hint))
        channel.settimeout(None)
        return frame.header

    def _said(self, header: dict[str, Any]) -> None:
        if header["said"] == "nodes":
            self._note(header)

    def _note(self, facts: Mapping[str, Any]) -> None:
        """Take what is known of the nodes; those that are left out are told once each."""
        self._facts.note(facts)
        faults = set(facts.get("faults") or ())
        for fault in sorted(faults - self._faults):
            logger.warning("it gets no folds: %s", fault)
        self._faults = faults

    def _lost(self, connection: GatewayConnection) -> None:
        """Start another gateway; in the thread that has read from this one."""
        process = self._process
        if process is not None and not self._closing.is_set():
            _end(process, patience_seconds=END_SECONDS)
            self._problem = (connection.last_words or "its gateway has died") + self._last_lines()
            logger.warning("the gateway is lost: %s", self._problem)
            self._remove_folder()
            self._begin_again(FIRST_PAUSE_SECONDS)

    def _begin_again(self, pause_seconds: float) -> None:
        with self._lock:
            self._beginner = threading.current_thread()
        pause = pause_seconds
        while not self._closing.wait(pause):
            try:
                self._begin()
            except WorkerSetupError as error:
                self._problem = str(error)
                if not self._closing.is_set():
                    logger.error("the cluster cannot be used, which is tried again: %s", error)
                pause = min(max(2 * pause, FIRST_PAUSE_SECONDS), LONGEST_PAUSE_SECONDS)
            else:
                logger.info("a gateway to the cluster has begun")
                return
            finally:
                self._has_tried.set()

    def _last_lines(self) -> str:
        """Quote what the gateway has said last."""
        try:
            with self._log.open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(min(self._log_start, size), size - (1 << 14)))
                lines = log.read().decode(errors="replace").rstrip().splitlines()
        except OSError:
            return ""
        return "\n" + "\n".join(lines[-N_LINES:]) if lines else ""


def _end(process: subprocess.Popen[bytes], patience_seconds: float = END_SECONDS) -> None:
    """Wait for the end of a gateway, which has nobody to talk to any more."""
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        logger.error("the gateway does not end: it is killed")
        process.kill()
        process.wait()


def _hang_up(channel: socket.socket) -> None:
    with contextlib.suppress(OSError):
        channel.shutdown(socket.SHUT_RDWR)
