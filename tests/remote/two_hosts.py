"""Two hosts on this machine: network namespaces that a test makes, joined by a cable it can cut.

Nothing of it touches the machine's own network: both ends of the cable are in the namespaces.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

__all__ = ["Host", "two_hosts"]

_IP = shutil.which("ip") or "/usr/sbin/ip"


@dataclass(frozen=True)
class Host:
    """A network namespace with loopback and one cable."""

    namespace: str
    address: str

    def command(self, *command: str) -> list[str]:
        """Give the command that runs another one on this host."""
        return [_IP, "netns", "exec", self.namespace, *command]

    def cut(self) -> None:
        """Pull the cable: what is sent is lost, and nobody is told."""
        _ip("-n", self.namespace, "link", "set", "cable", "down")

    def join(self) -> None:
        """Put the cable back."""
        _ip("-n", self.namespace, "link", "set", "cable", "up")


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts that reach each other, and nobody else; skip where that is not allowed."""
    if os.geteuid() != 0 or not os.access(_IP, os.X_OK):
        pytest.skip("network namespaces need root and the program ip (Debian: iproute2)")
    hosts = [Host(f"ramp-{os.getpid()}-{k}", f"10.213.7.{k + 1}") for k in range(2)]
    with contextlib.ExitStack() as stack:
        for host in hosts:
            _ip("netns", "add", host.namespace)
            stack.callback(_ip, "netns", "delete", host.namespace)
        first, second = (host.namespace for host in hosts)
        end = ["type", "veth", "peer", "name", "cable", "netns", second]
        _ip("link", "add", "cable", "netns", first, *end)
        for host in hosts:
            _ip("-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "cable")
            for device in ("lo", "cable"):
                _ip("-n", host.namespace, "link", "set", device, "up")
        yield hosts[0], hosts[1]


def _ip(*arguments: str) -> None:
    done = subprocess.run([_IP, *arguments], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.fail(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
