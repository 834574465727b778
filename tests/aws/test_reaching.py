"""Reaching an instance: a real sshd, and a clock that does not wait."""

from __future__ import annotations

import getpass
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ec2 import Described
from ramp_engine.aws.haste import Haste
from ramp_engine.aws.instances import Instance
from ramp_engine.aws.reaching import reach
from ramp_engine.errors import HostKeyError, ResourceUnavailableError, WorkerSetupError
from ramp_engine.testing import ManualClock
from ramp_engine.testing.ssh_server import SshServer, make_login, requires_sshd
from tests.aws.cloud import Cloud

pytestmark = requires_sshd


class HastyClock(ManualClock):
    """A clock on which much time has gone by whenever somebody looks."""

    def __call__(self) -> float:
        self.advance(20.0)
        return super().__call__()


class Place:
    """An instance that EC2 says runs, and the machine that it is.

    Parameters
    ----------
    machine : SshServer
    """

    def __init__(self, machine: SshServer) -> None:
        self.machine = machine
        self.state = "running"
        self.console = _console(str(machine.host_key))
        now = datetime.now(UTC)
        seen = Described("i-1", "running", "t3", False, machine.address, "", now, {})
        self.instance = Instance(seen, look=lambda _: seen, console=lambda _: self.console)

    def reach(self, haste: Haste | None = None, **keys: Any) -> str:
        """Connect; give the key by which the instance is known then."""
        machine = self.machine
        known = {"ssh_port": machine.port, "ami_user_name": getpass.getuser()}
        more = {"start_timeout": 100.0, "host_key_check": "console"} | known | keys
        key_path = more.pop("key_path", machine.login.key_path)
        settings = AWSWorkerConfig.model_validate(Cloud.keys(key_path, **more))
        state: Callable[[], str] = lambda: self.state  # noqa: E731
        reach(self.instance, settings, state, haste or Haste(), HastyClock()).close()
        return str(self.instance.host_key)


def _console(*keys: str) -> str:
    lines = "\n".join(f"{key} root@ip" for key in keys)
    return f"-----BEGIN SSH HOST KEY KEYS-----\n{lines}\n-----END SSH HOST KEY KEYS-----"


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    with SshServer(tmp_path / "machine") as machine:
        yield Place(machine)


def test_an_instance_is_known_by_the_key_on_its_console_or_by_its_first_one(place: Place) -> None:
    key = str(place.machine.host_key)
    assert place.reach() == key
    place.instance.host_key = None
    place.console = ""
    assert place.reach(host_key_check="first-use") == key


def test_another_key_is_refused_at_the_first_time_and_later(place: Place) -> None:
    place.reach()
    place.machine.change_host_key()
    place.machine.restart()
    with pytest.raises(HostKeyError, match="SHA256:"):
        place.reach()
    place.instance.host_key = None  # as if it were new: the console shows the former key
    with pytest.raises(HostKeyError, match="SHA256:"):
        place.reach(host_key_check="first-use")


def test_who_is_not_let_in_is_told_what_to_correct(place: Place, tmp_path: Path) -> None:
    other = make_login(tmp_path / "other").key_path
    for wrong in ({"key_path": other}, {"ami_user_name": "nobody-of-that-name"}):
        place.instance.host_key = None
        with pytest.raises(WorkerSetupError, match="i-1") as raised:
            place.reach(**wrong)
        assert raised.value.hint == "Correct ami_user_name, key_name and key_path"
        assert str(next(iter(wrong.values()))) in str(raised.value)


def test_an_ssh_server_that_never_starts_is_told_with_the_likely_causes(place: Place) -> None:
    place.machine.stop()
    with pytest.raises(WorkerSetupError, match="cannot be reached after 100 s") as raised:
        place.reach()
    assert "security_group" in raised.value.hint


def test_a_console_that_never_tells_is_told_where_nothing_else_is_trusted(place: Place) -> None:
    place.console = "Kernel panic"
    place.reach(host_key_check="first-use")
    place.instance.host_key = None
    with pytest.raises(WorkerSetupError, match="shows no SSH host keys") as raised:
        place.reach(start_timeout=1.0)
    assert "host_key_check: first-use" in raised.value.hint


def test_an_instance_that_ends_is_waited_for_no_longer(place: Place) -> None:
    place.machine.stop()
    place.state = "shutting-down"
    with pytest.raises(ResourceUnavailableError, match="has ended: shutting-down"):
        place.reach()


def test_haste_ends_a_connection_that_hangs(place: Place) -> None:
    place.machine.freeze()
    haste = Haste(0.1)
    threading.Timer(0.3, haste.make).start()
    try:
        with pytest.raises(ResourceUnavailableError, match="the run is to end"):
            place.reach(haste, start_timeout=1e9)
    finally:
        place.machine.thaw()
