"""A machine that is reached by SSH: a real sshd on loopback, with a home of its own.

Works as root and as anybody else. Several machines are several addresses (127.0.0.x), each with
an sshd of its own, so that each can hang, drop and come back by itself::

    with SshServer(tmp_path / "a") as machine, SshConnection(machine.target) as connection:
        connection.run(["pwd"])  # machine.home

    port = free_port("127.0.0.77", "127.0.0.78")
    with SshServer(tmp_path / "b", address="127.0.0.77", port=port, login=machine.login): ...

It needs the programs sshd, sftp-server and ssh-keygen (Debian: openssh-server), and pytest; mark
tests with `requires_sshd`. A test that wants to know what a worker has left over there looks into
`SshServer.home`.
"""
# ruff: noqa: S101  a part of tests, run by pytest

from __future__ import annotations

import contextlib
import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ramp_engine.transports.ssh import HostKey, SshTarget

__all__ = ["Login", "SshServer", "can_mount", "free_port", "make_login", "requires_sshd"]

SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")
SFTP_SERVER = next((path for path in SFTP_SERVERS if Path(path).exists()), None)
#: How long sshd may take to be there, or to be gone.
PATIENCE_SECONDS = 30.0

requires_sshd = pytest.mark.skipif(
    SSHD is None or SFTP_SERVER is None, reason="needs sshd and sftp-server (openssh-server)"
)

CONFIG = """\
{extra}
ListenAddress {address}
Port {port}
HostKey {host_key}
AuthorizedKeysFile {authorized_keys}
Subsystem sftp {sftp_server}
SetEnv {environment}
ForceCommand cd "$HOME" && exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
MaxStartups 200
MaxSessions 100
PidFile none
PrintMotd no
"""


@dataclass(frozen=True)
class Login:
    """A key pair."""

    key_path: Path

    @property
    def public(self) -> str:
        """The line for ``authorized_keys``."""
        return self.key_path.with_suffix(".pub").read_text()


def make_login(path: Path, kind: str = "ed25519", passphrase: str = "") -> Login:
    """Make a key pair, in ``path`` and ``path``.pub."""
    _make_key(path, kind, passphrase)
    return Login(path)


def free_port(*addresses: str) -> int:
    """Find a port that is free at all of these addresses."""
    for _ in range(50):
        with contextlib.ExitStack() as stack:
            port = 0
            with contextlib.suppress(OSError):
                for address in addresses:
                    probe = stack.enter_context(socket.socket())
                    probe.bind((address, port))
                    port = probe.getsockname()[1]
                return port
    raise RuntimeError(f"no port is free at {addresses}")


def can_mount() -> bool:
    """Whether this process may make mounts of its own, for a disk that is small."""
    command = ["unshare", "--mount", "sh", "-c", "mount -t tmpfs -o size=64k tmpfs /mnt"]
    with contextlib.suppress(OSError):
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    return False


class SshServer:
    """A machine with sshd: as context manager, or by `start` and `stop`.

    Parameters
    ----------
    directory : Path
        For all that is its own; made.
    address, port : str, int
        Where it listens; a free port by default. The port stays its own over restarts.
    login : Login, optional
        Who is let in; a new key pair by default.
    environment : mapping of str, optional
        What commands find in their environment besides.
    disk_kb : int, optional
        The home lies on a disk of this size (see `can_mount`).
    """

    def __init__(
        self,
        directory: Path,
        *,
        address: str = "127.0.0.1",
        port: int | None = None,
        login: Login | None = None,
        environment: Mapping[str, str] | None = None,
        disk_kb: int | None = None,
    ) -> None:
        self.directory = directory
        self.address = address
        self.port = port or free_port(address)
        self._disk_kb = disk_kb
        self._home = directory / "home"
        self._home.mkdir(parents=True)
        self.login = login or make_login(directory / "login")
        self._environment = dict(environment or {})
        self._mark = f"RAMP_TEST_MACHINE={secrets.token_hex(8)}"
        self._process: subprocess.Popen[bytes] | None = None
        #: Lines for sshd_config, from the next `start` on; they win over ours.
        self.extra_config = ""
        self.change_host_key()

    def __enter__(self) -> SshServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def home(self) -> Path:
        """The login's home, where commands and file transfers start."""
        if self._disk_kb is None:
            return self._home
        return Path(f"/proc/{self._running().pid}/root{self._home}")

    @property
    def target(self) -> SshTarget:
        """Where to connect, as whom, with which key."""
        return SshTarget(self.address, getpass.getuser(), self.login.key_path, self.port)

    @property
    def pid(self) -> int:
        """Pid of the sshd that listens."""
        return self._running().pid

    @property
    def host_key(self) -> HostKey:
        """The key by which the machine is known."""
        return HostKey.parse((self.directory / "host_key.pub").read_text())

    @property
    def log(self) -> str:
        """What sshd said."""
        return (self.directory / "sshd.log").read_text()

    def change_host_key(self, kind: str = "ed25519") -> None:
        """Give the machine another host key, from the next `start` on."""
        for name in ("host_key", "host_key.pub"):
            (self.directory / name).unlink(missing_ok=True)
        _make_key(self.directory / "host_key", kind)

    def start(self) -> None:
        """Start sshd, and wait until it greets."""
        assert SSHD is not None
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = self._write_config()
        command = [SSHD, "-D", "-f", str(config), "-E", str(self.directory / "sshd.log")]
        if self._disk_kb is not None:
            mount = f"mount -t tmpfs -o size={self._disk_kb}k tmpfs '{self._home}'"
            command = ["unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh", *command]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        try:
            self._wait_for_greeting()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End sshd with its sessions and all that they have started, and wait for their end."""
        process, self._process = self._process, None
        if process is not None:
            pids = [process.pid, *_descendants(process.pid)]
            _signal(pids, signal.SIGKILL)
            process.wait()
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while left := self._marked():
            assert time.monotonic() < ends_at, f"{left} do not end"
            _signal(left, signal.SIGKILL)
            time.sleep(0.01)

    def restart(self) -> None:
        """Come back, as after a reboot: same port, same home."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Hang: connections are accepted by the kernel, and nobody says a word."""
        pid = self._running().pid
        _signal([pid, *_descendants(pid)], signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on after `freeze`."""
        pid = self._running().pid
        _signal([pid, *_descendants(pid)], signal.SIGCONT)

    def drop(self) -> None:
        """Break all connections; sshd and what commands have started live on."""
        pids = _descendants(self._running().pid)
        _signal([pid for pid in pids if _name(pid).startswith("sshd")], signal.SIGKILL)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "not started"
        return self._process

    def _write_config(self) -> Path:
        authorized_keys = self.directory / "authorized_keys"
        authorized_keys.write_text(self.login.public)
        variables = {"HOME": str(self._home), **self._environment}
        pairs = [*(f"{name}={value}" for name, value in variables.items()), self._mark]
        config = self.directory / "sshd_config"
        config.write_text(
            CONFIG.format(
                extra=self.extra_config,
                address=self.address,
                port=self.port,
                host_key=self.directory / "host_key",
                authorized_keys=authorized_keys,
                sftp_server=SFTP_SERVER,
                environment=" ".join(f'"{pair}"' for pair in pairs),
            )
        )
        return config

    def _wait_for_greeting(self) -> None:
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            place = (self.address, self.port)
            with (
                contextlib.suppress(OSError),
                socket.create_connection(place, timeout=5) as greeted,
            ):
                if greeted.recv(4) == b"SSH-":
                    return
            status = self._running().poll()
            assert status is None, f"sshd ended with {status}: {self.log}"
            assert time.monotonic() < ends_at, f"sshd does not greet: {self.log}"
            time.sleep(0.01)

    def _marked(self) -> list[int]:
        """Find what outlived its connection: all that has our mark in its environment."""
        mark = self._mark.encode()
        return [pid for pid, environ in _environments() if mark in environ.split(b"\0")]


def _make_key(path: Path, kind: str, passphrase: str = "") -> None:
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path)]
    if kind == "rsa":
        command += ["-b", "2048"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                yield int(entry.name), (entry / "environ").read_bytes()


def _children(pid: int) -> list[int]:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]
    return []


def _descendants(pid: int) -> list[int]:
    children = _children(pid)
    return [*children, *(item for child in children for item in _descendants(child))]


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text()
    return ""


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
