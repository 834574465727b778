"""A deployment of one event, in a folder for a while."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ramp_database import people, queue, submissions
from ramp_database.session import Database
from ramp_database.states import FINAL, State
from ramp_database.submissions import SubmissionFile

ROOT = Path(__file__).parents[1]
TEAM = "benchmark"

#: Of all that is measured. Libraries take one thread each; what runs from the repository is
#: compiled once and not at each start, as what is installed is.
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"},
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}

CONFIG = """
ramp: {{problem_name: {name}, event_name: {name}}}
worker: {{worker_type: local, python: {python}}}
evaluation: {{python: {python}, fold_server: {fold_server}}}
dispatcher:
  n_workers: {n_workers}
  n_jobs_per_submission: {n_jobs}
  n_threads: 1
  time_between_collection: 0.2
"""


class Deployed:
    """An event that is deployed, with a team.

    Parameters
    ----------
    name : str
        ``iris`` or ``digits``, which come with ramp, or one of those in ``benchmarks/kits``.
    root : Path
        An empty folder.
    data : mapping, optional
        Names and contents of files that are put into the event's ``data/data``.
    """

    def __init__(self, name: str, root: Path, data: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.root = root
        self.event = root / "events" / name
        ignored = shutil.ignore_patterns("__pycache__", "training_output", "work")
        own = Path(__file__).with_name("kits") / name
        source = own if own.is_dir() else ROOT / "events" / name
        shutil.copytree(source, self.event, ignore=ignored)
        for file, content in (data or {}).items():
            path = self.event / "data" / "data" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        self.configure()
        self.ramp("setup", "deploy-event", "--event-config", str(self.config))
        folder = self.event / "kit" / "submissions" / "starting_kit"
        #: What is submitted.
        self.files = [
            SubmissionFile(path.name, path.read_bytes()) for path in sorted(folder.glob("*.py"))
        ]
        self.database = Database(f"sqlite:///{root}/ramp.db")
        with self.database.session() as session:
            people.add_team(session, TEAM)
            people.sign_up_team(session, name, TEAM)

    @property
    def config(self) -> Path:
        """The event's file."""
        return self.event / "config.yml"

    def configure(self, *, is_warm: bool = True, n_workers: int = 1, n_jobs: int = 1) -> None:
        """Write the event's file."""
        text = CONFIG.format(
            name=self.name,
            python=sys.executable,
            fold_server="on" if is_warm else "off",
            n_workers=n_workers,
            n_jobs=n_jobs,
        )
        self.config.write_text(text)

    def ramp(self, *arguments: str) -> None:
        """Run a ``ramp`` command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "ramp_engine", *arguments],
            cwd=self.root,
            env={**ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        if done.returncode != 0:
            raise RuntimeError(f"ramp {' '.join(arguments)} failed:\n{done.stderr}")

    @contextlib.contextmanager
    def dispatching(self) -> Iterator[int]:
        """Have a dispatcher run while the block does; give its pid."""
        command = [sys.executable, "-m", "ramp_engine", "launch", "dispatcher"]
        command += ["--event-config", str(self.config)]
        with (self.root / "log").open("ab") as log:
            dispatcher = subprocess.Popen(
                command,
                cwd=self.root,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        try:
            yield dispatcher.pid
        finally:
            dispatcher.terminate()
            dispatcher.wait()

    def submit(self, names: list[str], code: str | None = None) -> list[int]:
        """Submit the same files under each name, or their only one with other code."""
        files = self.files
        if code is not None:
            files = [SubmissionFile(self.files[0].path, code.encode())]
        with self.database.session() as session:
            return [submissions.add(session, self.name, TEAM, name, files).id for name in names]

    def cancel(self, numbers: list[int]) -> None:
        """Cancel submissions, and wait for their end."""
        with self.database.session() as session:
            for number in numbers:
                queue.cancel(session, number, "measured")
        while self.states(numbers) != {State.CANCELED}:
            time.sleep(0.1)

    def is_scored(self, submission: int) -> bool:
        """Tell whether a submission has its score."""
        return self.states([submission]) == {State.SCORED}

    def check_scored(self, numbers: list[int]) -> None:
        """Fail unless all have their score: what is measured must have been done."""
        states = self.states(numbers)
        if states != {State.SCORED}:
            raise RuntimeError(f"not all submissions were scored: {states}")

    def wait_scored(self, numbers: list[int], seconds: float = 3600.0) -> None:
        """Wait until all have their score; fail when one will not, or it takes too long."""
        until = time.monotonic() + seconds
        while (states := self.states(numbers)) != {State.SCORED}:
            if time.monotonic() > until or states & (FINAL - {State.SCORED}):
                raise RuntimeError(f"not all submissions were scored: {states}")
            time.sleep(0.2)

    def states(self, numbers: list[int]) -> set[State]:
        with self.database.session(read_only=True) as session:
            return {submissions.get(session, number).state for number in numbers}


@contextlib.contextmanager
def deployed(name: str, data: Mapping[str, str] | None = None) -> Iterator[Deployed]:
    """Deploy an event in a folder that goes with the block."""
    with tempfile.TemporaryDirectory(prefix="ramp-benchmark-") as folder:
        deployment = Deployed(name, Path(folder), data)
        try:
            yield deployment
        finally:
            deployment.database.dispose()
