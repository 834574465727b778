"""An iris event whose submissions run on the instances of a test's cloud."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ramp_database import queue, submissions
from ramp_database.queue import Claim
from ramp_engine.attempt import attempt_directory
from ramp_engine.live_log import LiveLog
from tests.aws.farm import Farm
from tests.integration.dispatching import wait_for
from tests.integration.on_cluster import ClusterEvent, cluster_event

__all__ = ["AwsEvent", "aws_event"]


class AwsEvent(ClusterEvent):
    """A folder with a deployed event, its database, and the machines of its instances.

    Parameters
    ----------
    folder : Path
    name : str
        Of the event.
    worker, dispatcher : dict
        Further keys of these sections.
    farm : Farm
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        worker: dict[str, Any],
        dispatcher: dict[str, Any] | None = None,
        *,
        farm: Farm,
    ) -> None:
        self.farm, self.cloud = farm, farm.cloud
        #: Where confined submissions may read, if the test has said so.
        self.open_folder = folder
        super().__init__(folder, name, worker, dispatcher)

    def instances(self) -> dict[str, str]:
        """Tell of each instance of the event that there is for what it is tagged."""
        tags = {one: self.cloud.tags(one) for one in self.cloud.ids(["pending", "running"])}
        return {
            one: found["ramp:submission"]
            for one, found in tags.items()
            if found["ramp:event"] == self.name
        }

    def await_instances(self, n_instances: int) -> None:
        """Wait until there are so many, and no more."""
        assert wait_for(lambda: len(self.instances()) == n_instances), self.instances()

    def cancel(self, number: int) -> None:
        with self.database.session() as session:
            queue.cancel(session, number, "enough")

    def check(self) -> None:
        """See that all promises hold, and that no run is left on any machine."""
        for instance in self.instances():
            runs = self.farm.machine(instance).home / ".ramp" / "runs"
            assert wait_for(lambda runs=runs: not list(runs.glob("*"))), list(runs.glob("*"))
        super().check()

    def partial_folds(self, number: int) -> list[int]:
        """List the folds of the last attempt that have a score while others run."""
        found = self.attempts(number)[-1].partial
        return [] if found is None else [one["fold"] for one in found["folds"]]

    def live_log(self, number: int) -> LiveLog:
        """Open what the run of a submission prints."""
        row = self.row(number)
        assert row.dispatcher_id is not None
        claim = Claim(number, row.attempt, row.dispatcher_id)
        name = submissions.directory_name(number)
        return LiveLog(attempt_directory(self.event.ramp.work_dir, name, claim))

    @contextmanager
    def hasty_dispatcher(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program, which puts off a second attempt for a moment only."""
        command = [sys.executable, "-m", "tests.integration.hasty_ramp", "launch", "dispatcher"]
        with self.running([*command, "--event-config", str(self.path), *words]) as process:
            yield process

    def ramp(self, *words: str, code: int = 0) -> str:
        """Run a command of the program to its end; give what it prints."""
        found = subprocess.run(
            [sys.executable, "-m", "ramp_engine", *words],
            cwd=self.folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert found.returncode == code, found.stdout
        return found.stdout


@contextmanager
def aws_event(
    farm: Farm, name: str, dispatcher: dict[str, Any] | None = None, **worker: Any
) -> Iterator[AwsEvent]:
    """Deploy an event; at the end no instance of it is left, and no machine that runs."""
    keys = farm.keys(worker_type="aws", node_dir=None, adopt_within_seconds=60, patience_seconds=20)
    keys |= {"key_path": str(keys["key_path"])} | worker
    made = partial(AwsEvent, farm=farm)
    with cluster_event(name, keys, made, dispatcher=dispatcher) as event:
        yield event
        event.await_instances(0)
