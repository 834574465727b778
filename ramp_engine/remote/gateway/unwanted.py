"""Jobs of which nothing is wanted any more: how they are ended, begun or not."""

from __future__ import annotations

from ramp_engine.remote.engine import Engine
from ramp_engine.remote.gateway.held_run import HeldRun
from ramp_engine.remote.gateway.jobs import Given, Jobs
from ramp_engine.remote.gateway.nodes import Nodes
from ramp_engine.remote.gateway.runs import Phase

__all__ = ["Unwanted"]


class Unwanted:
    """End jobs; their own end is told by the engine.

    Parameters
    ----------
    engine : Engine
    nodes : Nodes
    jobs : Jobs
    """

    def __init__(self, engine: Engine, nodes: Nodes, jobs: Jobs) -> None:
        self._engine, self._nodes, self._jobs = engine, nodes, jobs

    def end_dropped(self, held: HeldRun) -> None:
        """End the jobs of a run whose folds were dropped."""
        by_node: dict[str, list[str]] = {}
        for given in self._jobs.of(held):
            if given.fold.phase is not Phase.DROPPED or given.is_called_off:
                continue
            given.is_called_off = True
            if given.node is None:
                self._engine.withdraw(given.job)
            else:
                by_node.setdefault(given.node, []).append(given.job)
        for node, jobs in by_node.items():
            self._nodes.cancel(node, jobs)

    def end(self, given: Given) -> None:
        """End a job that began, or was found unwanted, after its fold was called off."""
        if not given.is_ending and given.node is not None:
            given.is_ending = True
            self._nodes.cancel(given.node, [given.job])

    def call_off(self, given: Given, why: str) -> None:
        """Give up a job that must not go on where it is."""
        if not given.is_called_off:
            given.fault, given.is_called_off = why, True
            self.end(given)

    def shun(self) -> None:
        """End the jobs on nodes that turn out not to do."""
        for name in self._nodes.names:
            fault = self._nodes.fault(name)
            for given in self._jobs.on(name) if fault else ():
                self.call_off(given, str(fault))
