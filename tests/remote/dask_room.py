"""What agents have on the nodes of a Dask cluster, all of which are on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.node.place import Place
from tests.remote.dask_cluster import DaskCluster
from tests.remote.node_room import wait_until


class DaskRoom:
    """The places of an event's agents.

    Parameters
    ----------
    cluster : DaskCluster
    config : mapping
        Of the worker: ``event``, ``work_dir`` and ``node_dir`` tell where they are.
    """

    def __init__(self, cluster: DaskCluster, config: Mapping[str, Any]) -> None:
        site = Requests(config, "").make("info").header["site"]
        self.places = {name: Place.of(site, name) for name in cluster.names}

    def node_of(self, path: str) -> str:
        """Tell on which node a path is."""
        [name] = [name for name, place in self.places.items() if str(place.root) in path]
        return name

    def runs(self) -> list[Path]:
        """List the folders of folds that run."""
        folders = [place.runs for place in self.places.values()]
        return [run for folder in folders if folder.is_dir() for run in folder.iterdir()]

    def processes(self) -> list[str]:
        """Give the command lines of all that was started with a path of an agent."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            except OSError:
                continue
            if any(str(place.root) in words for place in self.places.values()):
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
