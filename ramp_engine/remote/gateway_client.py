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
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from ramp_engine.errors import ResourceUnavailableError, WorkerLostError, WorkerSetupError
from ramp_engine.remote.frames import FrameError, receive, send
from ramp_engine.remote.gateway_clients import connect
from ramp_engine.remote.gateway_connection import GatewayConnection, Listener

__all__ = ["GatewayClient"]

logger = logging.getLogger(__name__)

#: How long to wait before a gateway that has died is started again: at first, and at most, in
#: seconds; it doubles.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
#: How long connecting to a cluster may take, with environments that nodes make, in seconds.
READY_SECONDS = 1800.0
#: How long a gateway may take to end, in seconds.
END_SECONDS = 60.0
#: So many lines of its log are quoted.
N_LINES = 6
_DAY_SECONDS = 86400.0


class GatewayClient:
    """The gateway of a dispatcher; enter it before use.

    Parameters
    ----------
    engine : str
        ``dask``, ``ray``, or ``module:function``.
    config : mapping
        Of the worker.
    """

    def __init__(self, engine: str, config: Mapping[str, Any]) -> None:
        self._engine, self._config = engine, config
        self._work_dir = Path(config["work_dir"])
        self._log = self._work_dir / "gateway.log"
        self._log_start = 0
        self._folder = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: GatewayConnection | None = None
        self._others: dict[str, GatewayConnection] = {}
        self._lock = threading.Lock()
        self._beginning = threading.Lock()  # held while another one is started
        self._closing = threading.Event()
        self._facts: dict[str, Any] = {}
        self._problem = ""

    def __enter__(self) -> Self:
        """Start it.

        Raises
        ------
        WorkerSetupError
            The cluster cannot be reached, refuses us, or has other versions.
        """
        self._work_dir.mkdir(parents=True, exist_ok=True)
        _sweep(self._work_dir / "gateways")
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and all that it runs for us."""
        self._closing.set()
        self._give_up_beginning()
        with self._lock:
            connection, process = self._connection, self._process
        if connection is not None:
            with contextlib.suppress(WorkerLostError):
                connection.ask("bye")
            connection.close()
        for other in list(self._others.values()):
            other.close()
        if process is not None:
            _end(process)
        shutil.rmtree(self._folder, ignore_errors=True)

    # What workers ask

    @property
    def level(self) -> str | None:
        """The weakest confinement on any node; None while no node is known."""
        level = self._facts.get("level")
        return None if level is None else str(level)

    @property
    def environment(self) -> str:
        """Name what folds on the nodes depend on."""
        return str(self._facts.get("environment", ""))

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
        with self._lock:
            if self._connection is None or self._connection.is_lost:
                reason = f"the cluster cannot be reached: {self._problem or 'its gateway has died'}"
                raise ResourceUnavailableError(reason, "It is tried again")
            return self._connection

    @property
    def socket_path(self) -> Path:
        """Where other dispatchers of this machine find the gateway."""
        return self._folder / "socket"

    def connection_to(self, path: Path) -> GatewayConnection:
        """Give the connection to a gateway: this one, or that of another dispatcher.

        Raises
        ------
        WorkerLostError
            There is no such gateway any more.
        """
        if path == self.socket_path:
            try:
                return self.connection()
            except ResourceUnavailableError as error:
                raise WorkerLostError(str(error)) from error
        with self._lock:
            known = self._others.get(str(path))
            if known is None or known.is_lost:
                try:
                    channel = connect(path)
                except OSError as error:
                    raise WorkerLostError(f"the gateway at {path} is gone: {error}") from error
                known = GatewayConnection(channel, lambda _: None, lambda _: None)
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
        gateways = self._work_dir / "gateways"
        try:
            gateways.mkdir(exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(dir=gateways))
            ours, theirs = socket.socketpair()
            with theirs, self._log.open("ab") as log:
                self._log_start = log.tell()
                self._process = self._start(theirs, log.fileno())
            if self._closing.is_set():
                self._process.terminate()
        except OSError as error:
            raise WorkerSetupError(f"the gateway cannot be started: {error}") from error
        try:
            self._facts = self._await_ready(ours)
        except BaseException:
            ours.close()
            _end(self._process)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        with self._lock:
            self._connection = GatewayConnection(ours, self._said, self._lost)

    def _start(self, theirs: socket.socket, log: int) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "ramp_engine.remote.gateway", "--engine", self._engine]
        command += ["--folder", str(self._folder), "--client-fd", str(theirs.fileno())]
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
        )

    def _await_ready(self, channel: socket.socket) -> dict[str, Any]:
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
            self._facts = header

    def _lost(self, connection: GatewayConnection) -> None:
        """Start another gateway; in the thread that has read from this one."""
        process = self._process
        if process is not None and not self._closing.is_set():
            _end(process, patience_seconds=END_SECONDS)
            self._problem = (connection.last_words or "its gateway has died") + self._last_lines()
            logger.warning("the gateway is lost: %s", self._problem)
            shutil.rmtree(self._folder, ignore_errors=True)
            self._begin_again()

    def _give_up_beginning(self) -> None:
        """Wait for no cluster that another gateway tries to reach: it has nothing to lose."""
        process = self._process
        if process is not None and self._beginning.locked():
            process.terminate()
        with self._beginning:
            pass

    def _begin_again(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._closing.wait(pause):
            try:
                with self._beginning:
                    self._begin()
            except WorkerSetupError as error:
                self._problem = str(error)
                logger.warning("the gateway does not come back: %s", error)
                pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
            else:
                logger.info("another gateway has begun")
                return

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


def _sweep(gateways: Path) -> None:
    """Remove what gateways left that were killed with their dispatchers."""
    for folder in _old(gateways):
        with contextlib.suppress(OSError):
            connect(folder / "socket").close()
            continue
        shutil.rmtree(folder, ignore_errors=True)


def _old(gateways: Path) -> Iterator[Path]:
    if gateways.is_dir():
        for folder in gateways.iterdir():
            if time.time() - folder.stat().st_mtime > _DAY_SECONDS:
                yield folder
