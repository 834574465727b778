"""A Ray of one's own on this machine, for one event; it ends with the process that started it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ramp_engine.errors import WorkerSetupError
from ramp_engine.supervised import SupervisedProcess, last_lines

__all__ = ["LocalRay"]

#: How long a head may take to start on a busy machine, in seconds.
START_SECONDS = 120.0
_LOOK_SECONDS = 0.05


class LocalRay:
    """A head with all that it starts, under a supervisor, in a directory of its own.

    Whatever happens to this process: the supervisor then ends them all, and removes the directory.
    Ray listens on all interfaces; who does not know the token is refused.

    Parameters
    ----------
    on_end : callable
        Called once when it has ended, in a thread of its own.

    Raises
    ------
    WorkerSetupError
        It does not start: the end of its log.
    """

    def __init__(self, on_end: Callable[[], None] = lambda: None) -> None:
        # Sockets lie below, whose paths may have 107 characters.
        self._directory = Path(tempfile.mkdtemp(prefix="ramp-ray-", dir=_short_directory()))
        self.token_path = self._directory / "token"
        self._log_path = self._directory / "log"
        try:
            self.token_path.touch(mode=0o600)
            self.token_path.write_text(secrets.token_hex(32))
            self._process = self._started(on_end)
        except BaseException:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise
        try:
            self.address = self._find_address()
        except BaseException:
            self.end()
            raise

    def _started(self, on_end: Callable[[], None]) -> SupervisedProcess:
        variables = {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_path),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_worker_niceness": "0",
        }
        ours = {name: value for name, value in os.environ.items() if name != "RAY_AUTH_TOKEN"}
        command = [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--port=0", "--node-ip-address=127.0.0.1", f"--temp-dir={self._directory / 'ray'}"),
            *("--include-dashboard=false", "--include-log-monitor=false", "--no-monitor"),
            *("--disable-usage-stats", f"--ray-client-server-port={_free_port()}"),
        ]
        with self._log_path.open("wb") as log:
            return SupervisedProcess(
                command,
                log=log,
                environment=ours | variables,
                remove_when_orphaned=[self._directory],
                on_end=on_end,
            )

    def _find_address(self) -> str:
        """Wait until the head says where it is."""
        path = self._directory / "ray" / "ray_current_cluster"
        until = time.monotonic() + START_SECONDS
        while not self._process.wait(_LOOK_SECONDS) and time.monotonic() < until:
            with contextlib.suppress(OSError):
                if address := path.read_text().strip():
                    return address
        raise WorkerSetupError(
            f"a local Ray does not start: {last_lines(self._log_path)}",
            "Name a cluster with ray_address, or look whether `ray start --head` works",
        )

    def end(self) -> None:
        """End all its processes and remove its directory. May be called again."""
        self._process.end()
        shutil.rmtree(self._directory, ignore_errors=True)


def _short_directory() -> str | None:
    """Give a directory for short paths; None: the usual one is."""
    return None if len(tempfile.gettempdir()) < 30 else "/tmp"  # noqa: S108  made by mkdtemp


def _free_port() -> int:
    """Give a port that nobody has; Ray wants one told, or would take that of other heads."""
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
    return port
