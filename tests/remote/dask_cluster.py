"""Real Dask clusters: a scheduler and nodes, each of them an address of its own on this machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

import trustme

from tests.remote.two_hosts import Host

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE = 90.0


class Certificates:
    """A CA, and the certificates that it gave to both sides of a cluster."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        authority = trustme.CA()
        both = authority.issue_cert("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4")
        self.ca, self.certificate, self.key = (
            folder / name for name in ("ca.pem", "certificate.pem", "key.pem")
        )
        authority.cert_pem.write_to_path(str(self.ca))
        both.cert_chain_pems[0].write_to_path(str(self.certificate))
        both.private_key_pem.write_to_path(str(self.key))

    @property
    def options(self) -> list[str]:
        """Say them to Dask's commands."""
        return [
            f"--tls-ca-file={self.ca}",
            f"--tls-cert={self.certificate}",
            f"--tls-key={self.key}",
        ]

    @property
    def section(self) -> dict[str, str]:
        """Say them as ``dask_security``."""
        return {
            "ca_file": str(self.ca),
            "client_cert": str(self.certificate),
            "client_key": str(self.key),
        }


class DaskCluster:
    """A scheduler and nodes at 127.0.0.2, .3, ...; all ended by `close`, by their own ids.

    Parameters
    ----------
    n_nodes : int
    n_workers, n_threads : int
        Worker processes of a node, and threads of each.
    resources : str
        As ``--resources`` takes them.
    certificates : Certificates, optional
        With them all connections are TLS.
    environment : dict
        More environment variables for all of them, such as ``PYTHONPATH``.
    hosts : sequence of Host
        Machines with a network of their own: a node on each, and the scheduler on the first.
    """

    def __init__(
        self,
        n_nodes: int = 2,
        n_workers: int = 1,
        n_threads: int = 1,
        resources: str = "",
        certificates: Certificates | None = None,
        environment: dict[str, str] | None = None,
        hosts: Sequence[Host] = (),
    ) -> None:
        self._hosts = {host.address: host for host in hosts}
        self.names = list(self._hosts) or [f"127.0.0.{number + 2}" for number in range(n_nodes)]
        self._address = self.names[0] if hosts else "127.0.0.1"
        self._options = [f"--nworkers={n_workers}", f"--nthreads={n_threads}"]
        self._options += [f"--resources={resources}"] if resources else []
        self._n_workers = n_workers
        self._tls = certificates.options if certificates else []
        self._scheme = "tls" if certificates else "tcp"
        self._environment = environment or {}
        self._folder = tempfile.TemporaryDirectory(prefix="ramp-test-dask-")
        self.nodes: dict[str, subprocess.Popen[bytes]] = {}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = _free_port()

    def __enter__(self) -> Self:
        try:
            self.start_scheduler()
            for name in self.names:
                self.start_node(name)
            for name in self.names:
                self.wait_for_node(name)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *reason: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        return f"{self._scheme}://{self._address}:{self._port}"

    @property
    def folder(self) -> Path:
        return Path(self._folder.name)

    # Start

    def start_scheduler(self) -> None:
        """Start the scheduler, at the port that it had before."""
        self.scheduler = self._start(
            "scheduler", ["dask", "scheduler", "--no-dashboard", "--no-show"],
            [f"--host={self._address}", f"--port={self._port}", f"--protocol={self._scheme}",
             *self._tls],
            self._address,
        )  # fmt: skip
        if not self._hosts:  # else the nodes find out
            wait_until(self._is_listening, "the scheduler to listen")

    def start_node(
        self,
        name: str,
        *more: str,
        python: str | Path = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start a node, or start it again, perhaps with more options, another Python, variables."""
        where = self.folder / name
        where.mkdir(exist_ok=True)
        self.nodes[name] = self._start(
            name,
            ["dask", "worker", self.address, f"--host={name}", "--no-dashboard"],
            [*self._options, f"--local-directory={where}", "--death-timeout=60", *self._tls, *more],
            name,
            python,
            environment,
        )

    def _start(
        self,
        name: str,
        command: Sequence[str],
        options: Sequence[str],
        address: str,
        python: str | Path = sys.executable,
        more: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[bytes]:
        words = [str(python), "-m", *command, *options]
        environment = {
            **os.environ,
            "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
            "PYTHONPATH": str(ROOT),
            "HOME": self._folder.name,
            "RAMP_INSTANCE_METADATA": "",  # no node asks a network for notices
            **self._environment,
            **(more or {}),
        }
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                self._hosts[address].command(*words) if self._hosts else words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )
        self._processes.append(process)
        return process

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _is_listening(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), 1):
            return True
        return False

    def wait_for_node(self, name: str) -> None:
        """Wait until the workers of a node have registered, as often as it was started."""
        wanted = self._n_workers
        wait_until(
            lambda: self.log(name).read_text().count("Registered to:") >= wanted,
            f"the workers of {name}",
        )

    # Trouble

    def kill(self, name: str) -> None:
        """Kill a node at once: nanny and workers."""
        self._signal(self.nodes[name], signal.SIGKILL)
        self.nodes[name].wait()

    def stop(self, name: str) -> None:
        """Have a node hang."""
        self._signal(self.nodes[name], signal.SIGSTOP)

    def cont(self, name: str) -> None:
        """Have a node go on."""
        self._signal(self.nodes[name], signal.SIGCONT)

    def terminate(self, name: str) -> None:
        """Ask a node to end, as an operator or a cluster manager does."""
        self.nodes[name].terminate()

    def kill_scheduler(self) -> None:
        self._signal(self.scheduler, signal.SIGKILL)
        self.scheduler.wait()

    def _signal(self, process: subprocess.Popen[bytes], number: int) -> None:
        for pid in members_of(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def close(self) -> None:
        """End everything that was started, and wait for it."""
        for process in self._processes:
            self._signal(process, signal.SIGKILL)
            process.wait()
        wait_until(
            lambda: not any(members_of(process.pid) for process in self._processes),
            "the cluster to be gone",
        )
        self._folder.cleanup()


def members_of(session: int) -> list[int]:
    """List the processes of a session, those of workers too."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == session and fields[0] != "Z":
                    found.append(int(entry.name))
    return found


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait for something that gives no sign of its own."""
    deadline = time.monotonic() + _PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
