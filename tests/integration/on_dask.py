"""An iris event whose folds run on a Dask cluster, and submissions held in mid-fold by a test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import yaml

from ramp_database import events, people, submissions
from ramp_database.model import Attempt, Submission
from ramp_database.session import Database
from ramp_database.states import FINAL, State
from ramp_engine.config import EventConfig, load_event
from ramp_engine.deployment import deploy
from ramp_engine.testing import violations, violations_on_disk
from tests.integration.dispatching import Witness, attempts, dispatching_event, row, wait_for
from tests.kits.light import lighten
from tests.open_environment import open_python
from tests.remote.dask_cluster import DaskCluster
from tests.remote.dask_room import DaskRoom
from tests.remote.node_room import is_alive

ROOT = Path(__file__).parents[2]
IRIS = ROOT / "events" / "iris"
#: A node that starts at once needs no network to find out where it is.
ENVIRONMENT = {"RAMP_INSTANCE_METADATA": ""}

#: Tells of each fold that begins, with a child of its own, and waits for leave to go on.
_GATED = """
import json, os, pathlib, time
import numpy as np
from nearest import NearestMean

GATE = pathlib.Path({gate!r})

class Gated(NearestMean):
    def fit(self, X, y):
        rng = np.random.default_rng(57)
        first = [rng.permutation(round(len(X) / 0.6))[0] for _ in range(2)]
        fold = first.index(X.index[0])
        child = os.fork()
        if not child:
            os.setsid()
            time.sleep(3600)
        told = GATE / f"told-{{time.time_ns()}}"
        facts = dict(fold=fold, pids=[os.getpid(), child], where=os.getcwd())
        told.with_suffix(".new").write_text(json.dumps(facts))
        told.with_suffix(".new").rename(told)
        print("fold", fold, "waits", flush=True)
        while not any((GATE / name).exists() for name in ("open", f"open-{{fold}}")):
            time.sleep(0.02)
        return super().fit(X, y)

def get_estimator():
    return Gated()
"""


@dataclass(frozen=True)
class Begun:
    """A fold that has begun on a node."""

    fold: int
    pids: tuple[int, ...]  #: its process, and a child that has left its session
    where: str  #: the folder it works in

    @property
    def is_gone(self) -> bool:
        return not any(map(is_alive, self.pids))


class Gate:
    """Where the folds of a submission wait."""

    def __init__(self, folder: Path, is_over: Callable[[], bool]) -> None:
        self._folder, self._is_over = folder, is_over
        folder.mkdir()

    @property
    def source(self) -> str:
        return _GATED.format(gate=str(self._folder))

    def open(self, fold: int | None = None) -> None:
        """Let all folds go on, or one."""
        (self._folder / ("open" if fold is None else f"open-{fold}")).touch()

    @property
    def begun(self) -> list[Begun]:
        """All that have begun so far, in their order."""
        told = sorted(path for path in self._folder.glob("told-*") if not path.suffix)
        facts = [json.loads(path.read_text()) for path in told]
        return [Begun(one["fold"], tuple(one["pids"]), one["where"]) for one in facts]

    def await_begun(self, n_folds: int) -> list[Begun]:
        """Wait until so many folds have begun since the start."""
        assert wait_for(lambda: len(self.begun) >= n_folds or self._is_over())
        assert len(self.begun) >= n_folds, f"only {self.begun}"
        return self.begun

    def await_gone(self) -> None:
        """Wait until nothing is left of any fold that has begun."""
        assert wait_for(lambda: all(one.is_gone for one in self.begun)), self.begun


class DaskEvent:
    """A folder with a deployed event, its database, and who dispatches it.

    Parameters
    ----------
    folder : Path
    cluster : DaskCluster
    worker, dispatcher : dict
        Further keys of these sections.
    """

    def __init__(
        self,
        folder: Path,
        cluster: DaskCluster,
        worker: dict[str, Any] | None = None,
        dispatcher: dict[str, Any] | None = None,
    ) -> None:
        self.folder, self.cluster = folder, cluster
        place = folder / "events" / "iris"
        _copy_kit(place)
        python = str(open_python())
        keys = {"worker_type": "dask", "dask_scheduler": cluster.address, "python": python}
        keys |= {"sandbox": "off", "node_dir": str(folder / "nodes")}
        beat = {"heartbeat_seconds": 0.5, "stale_after_seconds": 2.0}
        beat |= {"time_between_collection": 0.2, "n_workers": 2, "n_threads": 1}
        self._config: dict[str, Any] = {
            "ramp": {"problem_name": "iris", "event_name": "iris"},
            "worker": keys | (worker or {}),
            "evaluation": {"python": python},
            "dispatcher": beat | (dispatcher or {}),
        }
        self.path = place / "config.yml"
        self.configure()
        url = f"sqlite:///{folder}/ramp.db"
        (folder / "config.yml").write_text(f"sqlalchemy:\n  url: {url}\n")
        self.database = Database(url)
        deploy(self.database, self.event)
        with self.database.session() as session:
            people.ensure_signed_up(session, "iris", "blue")
        self._n_gates = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.database.dispose()

    def configure(self, **worker: Any) -> None:
        """Write the event's file, with other keys of its worker; None: not there."""
        section = self._config["worker"] | worker
        self._config["worker"] = {key: item for key, item in section.items() if item is not None}
        self.path.write_text(yaml.safe_dump(self._config))
        self.event: EventConfig = load_event(self.path)

    @cached_property
    def room(self) -> DaskRoom:
        return DaskRoom(self.cluster, self.event.worker_config())

    # Submissions

    def submit(self, source: str) -> int:
        files = [submissions.SubmissionFile("estimator.py", textwrap.dedent(source).encode())]
        with self.database.session() as session:
            return submissions.add(session, "iris", "blue", f"s{os.urandom(4).hex()}", files).id

    def submit_gated(self) -> tuple[int, Gate]:
        """Submit one whose folds wait."""
        self._n_gates += 1
        numbers: list[int] = []
        gate = Gate(
            self.folder / f"gate-{self._n_gates}",
            lambda: bool(numbers) and self.row(numbers[0]).state in FINAL,
        )
        numbers.append(self.submit(gate.source))
        return numbers[0], gate

    def row(self, number: int) -> Submission:
        return row(self.database, number)

    def attempts(self, number: int) -> list[Attempt]:
        return attempts(self.database, number)

    def await_end(self, number: int) -> Submission:
        """Wait until a submission is in a final state."""
        assert wait_for(lambda: self.row(number).state in FINAL), self.row(number).state
        return self.row(number)

    def await_scored(self, number: int) -> list[str | None]:
        """Wait until a submission is scored; give what became of its attempts."""
        found = self.await_end(number)
        assert found.state is State.SCORED, found.error_msg
        return [one.outcome for one in self.attempts(number)]

    def check(self) -> None:
        """See that all promises hold, and that nothing runs on any node."""
        self.room.await_nothing_runs()
        with self.database.session(read_only=True) as session:
            event_id = events.get_event(session, "iris").id
            assert violations(session, event_id) == []
            assert violations_on_disk(session, event_id, self.event) == []

    # Who evaluates

    @contextmanager
    def dispatching(self) -> Iterator[Witness]:
        """Dispatch in a thread of this process; at the end no agent is left."""
        with dispatching_event(self.database, self.event, score=None) as witness:
            yield witness
        self.room.await_no_agents()

    @contextmanager
    def dispatcher_process(
        self, prefix: tuple[str, ...] = (), name: str = "dispatcher"
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run the program; it is killed at the end if it still runs."""
        command = [*prefix, sys.executable, "-m", "ramp_engine", "launch", "dispatcher"]
        command += ["--event-config", str(self.event.path)]
        with self.log(name).open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, env=self.environment
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()

    def ramp(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the program to its end."""
        return subprocess.run(
            [sys.executable, "-m", "ramp_engine", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name != "RAMP_CONFIG"}
        return kept | {"PYTHONPATH": str(ROOT)}

    def log(self, name: str = "dispatcher") -> Path:
        return self.folder / f"{name}.log"

    def gateways(self) -> list[int]:
        """List the processes of gateways that have their folder here."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                except OSError:
                    continue
                if "ramp_engine.remote.gateway" in words and str(self.folder) in words:
                    found.append(int(entry.name))
        return found


@contextmanager
def dask_event(cluster: DaskCluster, **options: Any) -> Iterator[DaskEvent]:
    """Deploy an event on a cluster; when it fails, what dispatchers and gateways said is shown."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ramp-t-")))
        folder.chmod(0o755)
        event = stack.enter_context(DaskEvent(folder, cluster, **options))
        try:
            yield event
        except BaseException:
            for log in [*folder.glob("*.log"), *folder.rglob("gateway.log")]:
                print(f"--- {log}\n{log.read_text(errors='replace')[-20_000:]}")
            raise


def _copy_kit(place: Path) -> None:
    ignored = shutil.ignore_patterns("*.csv", "__pycache__", "training_output")
    for part in ("kit", "data"):
        shutil.copytree(IRIS / part, place / part, ignore=ignored)
    shutil.rmtree(place / "data" / "data", ignore_errors=True)
    lighten(place / "kit")
