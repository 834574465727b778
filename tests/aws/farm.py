"""The machines of a test's cloud: each instance that is launched is an sshd with a home of its own.

Its address is that of the instance, its host key is on the instance's console, and when the
instance is terminated, the machine ends with everything on it.
"""

from __future__ import annotations

import getpass
import shutil
import tempfile
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.testing.ssh_server import Login, SshServer, free_port, make_login
from tests.aws.cloud import Cloud
from tests.aws.fault_proxy import Answer, Rule, Times
from tests.open_environment import open_python

__all__ = ["Farm", "farm", "running_farm"]


class Farm:
    """Machines for the instances of a cloud.

    Parameters
    ----------
    cloud : Cloud
    folder : Path
        For all machines; its path is short, as homes are.
    """

    def __init__(self, cloud: Cloud, folder: Path) -> None:
        self.cloud = cloud
        self.login: Login = make_login(folder / "login")
        self.port = free_port("127.0.0.1", "127.0.77.1", "127.0.77.2")
        #: Those that run or have run, by instance.
        self.machines: dict[str, SshServer] = {}
        #: What commands find in their environment: nobody asks for metadata.
        self.environment: dict[str, str] = {"RAMP_INSTANCE_METADATA": ""}
        #: Keywords for the machines that come.
        self.options: dict[str, Any] = {}
        #: Further lines for the sshd of machines that come.
        self.extra_config = ""
        #: Whether machines that come start at once; others are started by the test.
        self.is_starting = True
        self._folder = folder
        self._lock = threading.Lock()
        self._rules = [
            cloud.proxy.add(Rule("RunInstances", Times(None), after=self._launched)),
            cloud.proxy.add(Rule("TerminateInstances", Times(None), after=self._terminated)),
        ]

    def keys(self, **more: Any) -> dict[str, Any]:
        """The keys of a section ``worker``; folds run with an interpreter that starts soon."""
        return self.cloud.keys(
            self.login.key_path,
            ssh_port=self.port,
            ami_user_name=getpass.getuser(),
            python=str(open_python()),
            **more,
        )

    def machine(self, instance_id: str | None = None) -> SshServer:
        """The machine of an instance, or the only one there is."""
        if instance_id is None:
            (instance_id,) = self.cloud.ids(["running"])
        return self.machines[instance_id]

    def terminate(self, instance_id: str | None = None) -> None:
        """Take an instance away from outside, with its machine."""
        if instance_id is None:
            (instance_id,) = self.cloud.ids(["running"])
        self.cloud.terminate(instance_id)
        self.machines[instance_id].stop()

    def close(self) -> None:
        """End all machines."""
        for rule in self._rules:
            self.cloud.proxy.remove(rule)
        for machine in self.machines.values():
            machine.stop()

    def _launched(self, _params: Mapping[str, str], answer: Answer) -> Answer:
        if answer.status == 200:
            for instance_id in _ids(answer.content):
                self._add(instance_id)
        return answer

    def _add(self, instance_id: str) -> None:
        with self._lock:
            if instance_id in self.machines:
                return
            found = self.cloud.direct.describe_instances(InstanceIds=[instance_id])
            address = found["Reservations"][0]["Instances"][0]["PublicIpAddress"]
            machine = self.machines[instance_id] = SshServer(
                self._folder / instance_id[-8:],
                address=address,
                port=self.port,
                login=self.login,
                environment=self.environment,
                **self.options,
            )
        machine.extra_config = self.extra_config
        self.cloud.write_console(instance_id, [str(machine.host_key)])
        if self.is_starting:
            machine.start()

    def _terminated(self, params: Mapping[str, str], answer: Answer) -> Answer:
        if answer.status == 200:
            for key, value in params.items():
                if key.startswith("InstanceId.") and value in self.machines:
                    self.machines[value].stop()
        return answer


def _ids(content: bytes) -> list[str]:
    root = ET.fromstring(content)  # noqa: S314  moto's own
    return [str(item.text) for item in root.iter() if item.tag.endswith("}instanceId")]


@contextmanager
def running_farm(cloud: Cloud) -> Iterator[Farm]:
    """Have machines for the instances of a cloud; nothing of them is left."""
    folder = Path(tempfile.mkdtemp(prefix="ramp-farm-"))
    folder.chmod(0o711)
    try:
        farm = Farm(cloud, folder)
        try:
            yield farm
        finally:
            farm.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def farm(cloud_server: Cloud) -> Iterator[Farm]:
    """Machines for a cloud that this process asks; a second attempt begins soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ramp_database.queue.returning.FIRST_DELAY_SECONDS", 0.1)
        for key, value in cloud_server.environment().items():
            patch.setenv(key, value)
        cloud_server.reset()
        with running_farm(cloud_server) as farm:
            yield farm
