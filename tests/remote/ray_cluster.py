"""Real Ray clusters of several nodes on this machine, of a test's own, and engines beside them.

Each node is `ray start` under a supervisor of its own, so that it dies as a machine does, all at
once, and also when the tests are killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ramp_engine.evaluation.supervise import descendants, kill_descendants
from ramp_engine.supervised import SupervisedProcess, last_lines
from tests.remote.two_hosts import Host

__all__ = ["RayCluster", "free_port"]

#: A loaded machine may take so long to start a node, in seconds.
START_SECONDS = 120.0
_ROOT = Path(__file__).parents[2]
#: What Ray calls the head of a cluster whose nodes are processes that its autoscaler starts.
_HEAD_ID = "f" * 51 + "0" * 5
_SCALING = {
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_FAKE_CLUSTER": "1",
    "RAY_enable_autoscaler_v2": "1",
    "RAY_CLOUD_INSTANCE_ID": _HEAD_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": _HEAD_ID,
}
_COMMANDS = (
    *("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands"),
    *("worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands"),
)


class RayCluster:
    """A head without cores, and nodes of one or two cores that have a label ``name``.

    Parameters
    ----------
    nodes : mapping
        Further options of `ray start`, by the name of the node.
    variables_of : mapping
        Environment variables of the processes of a node, by its name.
    hosts : mapping
        Machines with a network of their own that nodes run on, by the name of the node, ``head``
        too; the others run on this machine.
    python : Path, optional
        Has ray; default: the one that runs the tests.
    scales_to : int
        So many nodes of one core, beside those of `nodes`, Ray's autoscaler may start on demand.
    """

    def __init__(
        self,
        nodes: Mapping[str, list[str]],
        *,
        variables_of: Mapping[str, Mapping[str, str]] | None = None,
        hosts: Mapping[str, Host] | None = None,
        python: Path | None = None,
        scales_to: int = 0,
    ) -> None:
        self._scales_to = scales_to
        self._python = str(python or sys.executable)
        self._directory = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
        self._tmp = self._directory / "tmp"
        self._tmp.mkdir()
        self.port, self.client_port = free_port(), free_port()
        self._nodes = nodes
        self._trees: dict[str, SupervisedProcess] = {}
        self._variables = {
            "HOME": str(self._directory),
            "PYTHONPATH": str(_ROOT),
            "TMPDIR": str(self._tmp),  # what a node that is killed leaves there
            "RAMP_INSTANCE_METADATA": "",  # no node asks a network for notices
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_health_check_period_ms": "1000",
            "RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S": "180",  # 30 on a busy machine is too few
        }
        self._variables_of = variables_of or {}
        self._hosts = hosts or {}

    @property
    def host(self) -> str:
        """The address that Ray takes for this machine's."""
        path = self._directory / "head" / "ray_current_cluster"
        return path.read_text().strip().rpartition(":")[0]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @contextlib.contextmanager
    def client_server(self) -> Iterator[str]:
        """Give the address for Ray's client, to one test of this machine at a time.

        For each client Ray starts a server at the next port from 23000 on that seems free, so that
        two clusters take the same one now and then.
        """
        with Path(tempfile.gettempdir(), f"ramp-test-ray-{os.getuid()}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._client_address

    @property
    def _client_address(self) -> str:
        return f"ray://{self.host}:{self.client_port}"

    @property
    def pids(self) -> list[int]:
        """The processes above all others, one a node."""
        return [tree.pid for tree in self._trees.values()]

    def __enter__(self) -> Self:
        try:
            self.start_head()
            for name in self._nodes:
                self._begin_node(name)
            for name in self._nodes:
                self._await(name)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def end(self) -> None:
        for tree in self._trees.values():
            kill_descendants(tree.pid)
        for tree in self._trees.values():
            tree.end()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start_head(self) -> None:
        """Start the head, or start it again on the same port."""
        options = [
            *("--head", f"--port={self.port}", f"--ray-client-server-port={self.client_port}"),
            *("--num-cpus=0", *self._scaling()),
        ]
        self._begin("head", options, _SCALING if self._scales_to else {})
        self._await("head")

    def start(self, *names: str, **variables: str) -> None:
        """Start nodes, or start them again, perhaps with more environment variables.

        One that was not there from the beginning has one core.
        """
        for name in names:
            self._begin_node(name, variables)
        for name in names:
            self._await(name)

    def kill(self, name: str) -> None:
        """Kill a node with all that runs on it, as when a machine loses its power."""
        tree = self._trees.pop(name)
        kill_descendants(tree.pid)
        tree.end()

    def node_of(self, pid: int) -> str:
        """Tell on which node a process runs."""
        return next(name for name, tree in self._trees.items() if pid in descendants(tree.pid))

    def id_of(self, name: str) -> str:
        """Give the name that Ray has for a living node."""
        code = (
            "import sys; from ray._raylet import GcsClient;"
            "print(*[i.hex() for i, node in GcsClient(address=sys.argv[1])"
            ".get_all_node_info().items() if node.labels['name'] == sys.argv[2]"
            " and node.state == 0])"
        )
        command = [sys.executable, "-c", code, self.address, name]
        result = subprocess.run(command, env=self._environment(), capture_output=True, check=True)
        return result.stdout.decode().strip()

    def scaled_to(self) -> list[str]:
        """List the nodes that Ray's autoscaler has started, by the names that Ray has for them."""
        code = (
            "import sys; from ray._raylet import GcsClient;"
            "print(*[i.hex() for i in GcsClient(address=sys.argv[1]).get_all_node_info()])"
        )
        command = [sys.executable, "-c", code, self.address]
        result = subprocess.run(command, env=self._environment(), capture_output=True, check=True)
        return [name for name in result.stdout.decode().split() if name != _HEAD_ID]

    def drain(self, node_id: str, seconds: int) -> None:
        """Ask a node to leave, as a cloud does before it takes a machine back."""
        code = (
            "import sys, time; from ray._raylet import GcsClient;"
            "from ray.core.generated.autoscaler_pb2 import DrainNodeReason as Reason;"
            "print(GcsClient(address=sys.argv[1]).drain_node(sys.argv[2],"
            " Reason.DRAIN_NODE_REASON_PREEMPTION, 'taken back',"
            " int((time.time() + float(sys.argv[3])) * 1000)))"
        )
        command = [sys.executable, "-c", code, self.address, node_id, str(seconds)]
        result = subprocess.run(command, env=self._environment(), capture_output=True, check=True)
        assert b"True" in result.stdout, result

    def pretend_versions(self, *, ray: str, python: str) -> None:
        """Have the head say that it has other versions than it has."""
        code = (
            "import sys; from ray._raylet import GcsClient;"
            "GcsClient(address=sys.argv[1]).internal_kv_put("
            "b'CLUSTER_METADATA', sys.argv[2].encode(), True, b'cluster')"
        )
        versions = json.dumps({"ray_version": ray, "python_version": python})
        command = [sys.executable, "-c", code, self.address, versions]
        subprocess.run(command, env=self._environment(), capture_output=True, check=True)

    def processes_of(self, *names: str) -> int:
        """Count Ray's processes with such a task or actor, on all nodes."""
        titles = tuple(f"ray::{name}".encode() for name in names)
        pids = [pid for tree in self._trees.values() for pid in descendants(tree.pid)]
        return sum(_title(pid).startswith(titles) for pid in pids)

    def _begin_node(self, name: str, variables: Mapping[str, str] | None = None) -> None:
        self._begin(
            name,
            [f"--address={self.address}", *self._nodes.get(name, ["--num-cpus=1"])],
            variables or {},
        )

    def _begin(self, name: str, options: list[str], variables: Mapping[str, str]) -> None:
        directory = self._directory / name
        log_path = self._directory / f"{name}.log"
        host = self._hosts.get(name)
        shutil.rmtree(directory, ignore_errors=True)
        command = [
            *(self._python, "-m", "ray.scripts.scripts", "start", "--block"),
            *(
                f"--node-ip-address={host.address if host else '127.0.0.1'}",
                "--disable-usage-stats",
                "--include-log-monitor=false",
            ),
            *("--min-worker-port=0", "--max-worker-port=0", "--object-store-memory=100000000"),
            *(f"--labels=name={name}", f"--temp-dir={directory}", *options),
        ]
        if name == "head":
            command.append("--include-dashboard=false")
        with log_path.open("wb") as log:
            self._trees[name] = SupervisedProcess(
                host.command(*command) if host else command,
                log=log,
                environment=self._environment()
                | dict(self._variables_of.get(name, {}))
                | dict(variables),
                remove_when_orphaned=[self._directory],
            )

    def _await(self, name: str) -> None:
        log_path = self._directory / f"{name}.log"
        ready_path = self._directory / name / "ray_current_cluster"
        until = time.monotonic() + START_SECONDS
        while not ready_path.exists() or b"Ray runtime started" not in log_path.read_bytes():
            if self._trees[name].wait(0.05) or time.monotonic() > until:
                raise RuntimeError(f"{name} of Ray does not start: {last_lines(log_path)}")

    def _scaling(self) -> list[str]:
        if not self._scales_to:
            return ["--no-monitor"]
        config = self._directory / "scaling.json"
        config.write_text(json.dumps(_scaling_config(self._scales_to, self.port)))
        return [f"--autoscaling-config={config}"]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self._variables}


def _scaling_config(n_nodes: int, port: int) -> dict[str, Any]:
    """Say that nodes of one core come, as many as are wanted, and go soon when they idle."""
    nothing: dict[str, Any] = {"node_config": {}}
    return {
        "cluster_name": "scales",
        "max_workers": n_nodes,
        "upscaling_speed": 1.0,
        "idle_timeout_minutes": 0.05,
        "auth": {"ssh_user": "nobody"},
        "provider": {
            "type": "external",  # what is built in wants a file that the wheel does not have
            "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
            "launch_multiple": True,
            "disable_node_updaters": True,
            "head_node_id": _HEAD_ID,
            "gcs_address": f"127.0.0.1:{port}",
        },
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {"CPU": 0}, "max_workers": 0, **nothing},
            "one core": {"resources": {"CPU": 1}, "max_workers": n_nodes, **nothing},
        },
        "file_mounts": {},
        **{step: [] for step in _COMMANDS},
    }


def _title(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    """Give a port that nobody has."""
    with socket.create_server(("", 0)) as server:
        port: int = server.getsockname()[1]
    return port
