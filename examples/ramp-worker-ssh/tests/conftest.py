"""A machine with a real sshd, on loopback, and an event whose submissions do as they are told."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ramp_engine.testing.processes import processes_with
from ramp_engine.testing.ssh_server import SshServer

pytest_plugins = ["ramp_engine.testing.fixtures"]


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with SshServer(tmp_path_factory.mktemp("sshd") / "machine") as machine:
        yield machine
        end_runs(machine)


@pytest.fixture
def keys(machine: SshServer) -> Iterator[dict[str, Any]]:
    """What the event's file says; nothing of a run is left on the machine at the end."""
    target, folder = machine.target, machine.home / "ramp"
    yield {
        "host": target.host,
        "port": target.port,
        "user": target.user,
        "key_path": target.key_path,
        "host_key": str(machine.host_key),
        "python": sys.executable,
        "folder": str(folder),
        "confinement": "none",
        "time_between_collection": 0.1,
    }
    assert processes_with(str(folder)) == []
    assert list(folder.glob("run-*")) == []


@pytest.fixture
def reboot(machine: SshServer) -> Callable[[], None]:
    """Have all that runs on the machine end, and all connections, as when it is started anew."""

    def reboot() -> None:
        end_runs(machine)
        machine.drop()

    return reboot


def end_runs(machine: SshServer) -> None:
    """End what runs on the machine; some of it may have just been started."""
    while left := processes_with(str(machine.home / "ramp")):
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
