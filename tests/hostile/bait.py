"""Places that are worth attacking, with secrets in them that are new in each run.

Every secret holds ``CANARY-`` and some random digits, which nobody tells the submissions: who can
say one has been where it lies.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import socket
import threading
from pathlib import Path

from tests.acceptance.deployment import Deployment


class Listeners:
    """Servers on this machine that count who comes, and tell a secret to everybody.

    Parameters
    ----------
    folder : Path
        For the socket file.
    secret : str
    """

    def __init__(self, folder: Path, secret: str) -> None:
        self.n_callers = 0
        self._secret = secret.encode()
        self.unix_socket = folder / "socket"
        self.abstract_socket = f"ramp-{secrets.token_hex(8)}"
        self._sockets = [
            self._listen(socket.AF_INET, ("127.0.0.1", 0)),
            self._listen(socket.AF_UNIX, str(self.unix_socket)),
            self._listen(socket.AF_UNIX, f"\0{self.abstract_socket}"),
        ]
        self.unix_socket.chmod(0o777)
        self.port = int(self._sockets[0].getsockname()[1])

    def _listen(self, family: socket.AddressFamily, address: object) -> socket.socket:
        server = socket.socket(family, socket.SOCK_STREAM)
        server.bind(address)  # type: ignore[arg-type]
        server.listen()
        threading.Thread(target=self._serve, args=(server,), daemon=True).start()
        return server

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = server.accept()
                self.n_callers += 1
                with caller, contextlib.suppress(OSError):
                    caller.sendall(self._secret + b"\n")

    def close(self) -> None:
        for server in self._sockets:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes the thread
            server.close()


class Bait:
    """What lies around in a deployment and beside it, for whoever comes to it.

    Parameters
    ----------
    deployment : Deployment
        Deployed, with a first submission that is scored.
    root : Path
        For what is beside it.
    """

    def __init__(self, deployment: Deployment, root: Path) -> None:
        self.deployment = deployment
        self.words: list[str] = []
        self.home = root / "home"
        self.home.mkdir()
        self.home_secret = self.home / "secret.txt"
        self.home_secret.touch(mode=0o600)
        self.home_secret.write_text(f"password: {self._word()}\n")
        self.canary = root / "canary.txt"
        self.canary.write_text("nobody changes this\n")
        for config in (deployment.directory / "config.yml", deployment.event / "config.yml"):
            config.write_text(config.read_text() + f"# password: {self._word()}\n")
        (deployment.event / "data" / "notes.txt").write_text(f"{self._word()}\n")
        self.variables = {"RAMP_PASSWORD": self._word()}
        self.listeners = Listeners(root, self._word())

    def _word(self) -> str:
        self.words.append(f"CANARY-{secrets.token_hex(12)}")
        return self.words[-1]

    @property
    def bundle(self) -> Path:
        (bundle,) = (self.deployment.event / "work" / "bundles").iterdir()
        return bundle

    def patterns(self) -> dict[str, re.Pattern[bytes]]:
        """Give how each secret looks like where it has come out."""
        found = {f"a secret ({word})": re.compile(word.encode()) for word in self.words}
        return found | {"the test labels": _sequence(self._labels())}

    def _labels(self) -> list[str]:
        lines = (self.deployment.event / "data" / "data" / "test.csv").read_text().splitlines()
        column = lines[0].split(",").index("species")
        return [line.split(",")[column] for line in lines[1:]]

    def targets(self, python: Path, dispatcher_pid: int) -> dict[str, str]:
        """Give the places that an attacker knows who knows everything."""
        event, other = self.deployment.event, "submissions/submission_000000001/estimator.py"
        places = {
            "config": event / "config.yml",
            "server_config": self.deployment.directory / "config.yml",
            "database": self.deployment.directory / "ramp.db",
            "labels": self.bundle / "labels",
            "kit": event / "kit",
            "kit_data": event / "kit" / "data",
            "data": event / "data",
            "bundle_test": self.bundle / "public" / "test",
            "other_submission": event / other,
            "attempts": event / "work" / "attempts",
            "predictions": event / "predictions",
            "logs": event / "logs",
            "home_secret": self.home_secret,
            "dispatcher_pid": dispatcher_pid,
            "port": self.listeners.port,
            "unix_socket": self.listeners.unix_socket,
            "abstract_socket": self.listeners.abstract_socket,
            "canary": self.canary,
            "environment": python.parent.parent,
        }
        return {name: os.fspath(p) if isinstance(p, Path) else str(p) for name, p in places.items()}


def _sequence(labels: list[str], n: int = 20) -> re.Pattern[bytes]:
    """Match the first labels in their order, by name or by number, however they are separated."""
    numbers = {label: str(number) for number, label in enumerate(sorted(set(labels)))}
    spellings = (labels[:n], [numbers[label] for label in labels[:n]])
    return re.compile("|".join(r"\W{1,8}".join(words) for words in spellings).encode())
