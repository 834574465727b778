"""What agents have on nodes that all are this machine: found by the folder that they were given."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ramp_engine.remote.node.place import Place
from tests.remote.node_room import wait_until


class NodeDir:
    """The folder ``node_dir`` of an event, with the agents of all nodes in it.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def runs(self) -> list[Path]:
        """List the folders of folds that run."""
        return list(self.path.glob("ramp-*/*/*/runs/*"))

    def processes(self) -> list[str]:
        """Give the command lines of all that was started with a path of an agent."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if str(self.path) in words and "ramp_engine.remote.gateway" not in words:
                found.append(f"{entry.name}: {words!r:.200}")
        return found

    def await_nothing_runs(self) -> None:
        """Wait until no fold is left on any node."""
        wait_until(lambda: not self.runs(), "the end of what runs on nodes")

    def await_no_agents(self) -> None:
        """Wait until all agents, and what they have started, have ended by themselves."""
        try:
            wait_until(lambda: not self.processes(), "the end of the agents")
        except AssertionError:
            raise AssertionError(f"agents are left: {self.processes()}") from None


def node_of(path: str, names: Iterable[str]) -> str:
    """Tell on which node of these a path is, by the engine's names of them."""
    parts = Path(path).parts
    [name] = [name for name in names if Place.of({"key": "any"}, name).root.name in parts]
    return name
