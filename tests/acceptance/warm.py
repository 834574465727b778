"""Processes of the ``ramp`` program that need not import other people's packages first.

Each command is a process of its own, forked from one that has imported what ramp builds on and
nothing of ramp: it does all that ``python -m ramp_engine`` does but for that, in a third of the
time. Run as a script this is the process that forks.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["WarmPrograms"]

_ROOT = Path(__file__).parents[2]
_IMPORTED_FIRST = (
    "alembic.command",
    "click",
    "psycopg",
    "pydantic.main",
    "rich.table",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.orm",
    "yaml",
)


class WarmPrograms:
    """Run the program again and again; what forks is started at first use, and ends with this."""

    def __init__(self) -> None:
        self._server: subprocess.Popen[str] | None = None

    def run(
        self,
        arguments: Sequence[str],
        cwd: Path,
        environment: Mapping[str, str],
        outputs: tuple[Path, Path],
        seconds: float,
    ) -> int:
        """Run the program to its end, and give its exit code; outputs are stdout and stderr.

        Raises
        ------
        TimeoutError
            It took longer; it was killed.
        """
        if self._server is None:
            self._server = _start()
        request = {
            "arguments": list(arguments),
            "cwd": str(cwd),
            "environment": dict(environment),
            "outputs": [str(path) for path in outputs],
        }
        pid = None
        try:
            pid = int(self._ask(json.dumps(request), seconds))
            return int(self._ask("", seconds))
        except BaseException:  # also a time limit of the test
            self.end()
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise

    def _ask(self, line: str, seconds: float) -> str:
        """Send a line, and wait for one."""
        assert self._server is not None
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{line}\n")
        self._server.stdin.flush()
        if not select.select([self._server.stdout], [], [], seconds)[0]:
            raise TimeoutError(f"not in {seconds:.0f} s")
        return self._server.stdout.readline()

    def end(self) -> None:
        """End what forks."""
        if self._server is not None:
            self._server.kill()
            self._server.communicate()
            self._server = None


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.acceptance.warm"],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _fork_for_each_request() -> None:
    """Return in each child, which is to be the program; end when nobody can ask any more."""
    while line := sys.stdin.readline():
        pid = os.fork()
        if pid == 0:
            _become(json.loads(line))
            return
        print(pid, flush=True)
        status = os.waitpid(pid, 0)[1]
        sys.stdin.readline()
        print(os.waitstatus_to_exitcode(status), flush=True)
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Take on what a new process gets from the one that starts it."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[0] = request["cwd"]
    sys.argv = ["ramp", *request["arguments"]]
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(path, flags, 0o600) for path in request["outputs"]]
    for number, descriptor in enumerate(opened):
        os.dup2(descriptor, number)
        os.close(descriptor)


if __name__ == "__main__":
    for name in _IMPORTED_FIRST:
        importlib.import_module(name)
    _fork_for_each_request()
    runpy.run_module("ramp_engine", run_name="__main__", alter_sys=True)
