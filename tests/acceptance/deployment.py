"""The ``ramp`` program, as its users run it: in processes of its own, on real files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.acceptance.warm import WarmPrograms
from tests.copied import copy_deployment
from tests.kits.light import lighten
from tests.open_environment import open_python

#: What has not happened by then will not, on however slow a machine [s].
PATIENCE_SECONDS = 240.0

REPOSITORY = Path(__file__).parents[2]
EVENTS = REPOSITORY / "events"
RAMP = [sys.executable, "-m", "ramp_engine"]

EVENT_CONFIG = """
ramp:
  problem_name: iris
  event_name: iris
  event_title: Iris classification
worker:
  worker_type: {worker_type}
  {worker_keys}
evaluation:
  python: {python}
dispatcher:
  n_workers: 2
  n_threads: 1
  time_between_collection: 0.2
  timeout: {timeout}
"""


class Deployment:
    """A folder with an event of its own, and the ``ramp`` command in it."""

    def __init__(self, directory: Path, programs: WarmPrograms, url: str | None = None) -> None:
        self.directory = directory
        self.python = Path(sys.executable)
        self._programs = programs
        self.event_config = Path("events/iris/config.yml")
        self.processes: list[subprocess.Popen[str]] = []
        directory.mkdir(parents=True, exist_ok=True)
        if url is not None:
            (directory / "config.yml").write_text(f"sqlalchemy:\n  url: {url}\n")

    def copy(self, directory: Path) -> Deployment:
        """Copy one on SQLite that is at rest, with all that is deployed and scored."""
        copy_deployment(self.directory, directory)
        copy = Deployment(directory, self._programs)
        copy.python = self.python
        return copy

    @property
    def event(self) -> Path:
        return self.directory / "events" / "iris"

    def add_iris(self, *, is_light: bool = True, **settings: Any) -> None:
        """Put the iris event in place, by default with a kit that runs start quickly with.

        For `settings` see `configure`.
        """
        for part in ("kit", "data"):
            shutil.copytree(
                EVENTS / "iris" / part,
                self.event / part,
                ignore=shutil.ignore_patterns("__pycache__", "training_output", "*.csv"),
            )
        shutil.rmtree(self.event / "data" / "data", ignore_errors=True)
        if is_light:
            lighten(self.event / "kit")
            self.python = open_python()
        self.configure(**settings)

    def configure(
        self,
        worker_type: str = "local",
        worker_keys: str | None = None,
        timeout: float = 120,
        python: str | Path | None = None,
    ) -> None:
        """Write the event's file."""
        python = self.python if python is None else python
        keys = f"python: {python}" if worker_keys is None else worker_keys
        text = EVENT_CONFIG.format(
            worker_type=worker_type, worker_keys=keys, python=python, timeout=timeout
        )
        (self.directory / self.event_config).write_text(text)

    def unconfine(self) -> None:
        """Let submissions write where the test reads; those of other tests run confined."""
        config = self.directory / self.event_config
        text = config.read_text()
        if "sandbox:" not in text:
            config.write_text(text.replace("worker:\n", "worker:\n  sandbox: 'off'\n", 1))

    def deploy(self) -> None:
        self.ramp("setup", "deploy-event", "--event-config", str(self.event_config))

    def ramp(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """Run a ``ramp`` command to its end and check its exit code."""
        with tempfile.TemporaryDirectory() as folder:
            outputs = (Path(folder, "stdout"), Path(folder, "stderr"))
            returncode = self._programs.run(
                arguments, self.directory, self.environment, outputs, PATIENCE_SECONDS
            )
            told = [path.read_text(errors="backslashreplace") for path in outputs]
        done = subprocess.CompletedProcess([*RAMP, *arguments], returncode, *told)
        assert done.returncode == code, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a ``ramp`` command; it is ended with the test at the latest."""
        log = (self.directory / f"process_{len(self.processes)}.log").open("w")
        process = subprocess.Popen(
            [*RAMP, *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=log,
            stderr=log,
            text=True,
        )
        log.close()
        self.processes.append(process)
        return process

    @property
    def environment(self) -> dict[str, str]:
        """Of this tree, wherever it is installed; nothing of a deployment of the developer's."""
        kept = {name: value for name, value in os.environ.items() if name != "RAMP_CONFIG"}
        return kept | {"PYTHONPATH": str(REPOSITORY)}

    def json(self, *arguments: str) -> Any:
        return json.loads(self.ramp(*arguments, "--json").stdout)

    def submit(self, name: str, files: dict[str, str] | None = None, team: str = "blue") -> int:
        """Submit one of the kit's submissions, or these files; give its number."""
        folder = self.event / "kit" / "submissions" / name
        if files is not None:
            folder = self.directory / "homework" / name
            folder.mkdir(parents=True)
            for path, text in files.items():
                (folder / path).write_text(textwrap.dedent(text))
        answer = self.json(
            "submit", str(folder), "--event", "iris", "--team", team, "--create-team"
        )
        return int(answer["id"])

    def dispatch(self) -> subprocess.CompletedProcess[str]:
        """Evaluate until every submission is done."""
        return self.ramp(
            "launch", "dispatcher", "--event-config", str(self.event_config), "--exit-when-done"
        )

    def submissions(self) -> dict[int, dict[str, Any]]:
        found = self.json("status", "--event", "iris")["submissions"]
        return {row["id"]: row for row in found}


def processes_of(directory: Path) -> list[int]:
    """List the processes that work in, or were started with a path of, a directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
            is_ours = str(directory) in words or str((entry / "cwd").readlink()).startswith(
                str(directory)
            )
        except OSError:
            continue
        if is_ours:
            found.append(int(entry.name))
    return found


def wait_until(is_so: Callable[[], bool], *, seconds: float = PATIENCE_SECONDS) -> bool:
    """Wait for something that another process does and gives no event for.

    To look may take a program, which would keep a core from what is waited for: the pause between
    two looks is longer than a look.
    """
    deadline = time.monotonic() + seconds
    while True:
        began = time.monotonic()
        if is_so():
            return True
        now = time.monotonic()
        if now > deadline:
            return False
        threading.Event().wait(min(0.05 + 2 * (now - began), 0.5))
