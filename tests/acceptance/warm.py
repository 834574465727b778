"""Processes of the ``ramp`` program that have imported their modules already.

Each command is a process of its own, forked from one that has imported all commands and done
nothing else. It does all that ``python -m ramp_engine`` does but for that, which is most of what a
short one takes. That an import has no effect, and that each command imports what it needs, is shown
in ``tests/architecture``; dispatchers and daemons that a test starts begin with nothing.

Run as a script this is the process that forks.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ramp_engine import cli

__all__ = ["WarmPrograms"]

_ROOT = Path(__file__).parents[2]
#: What is imported by and by when it is needed, apart from the commands.
_USED_LATER = ("alembic.command", "rich.table", "sqlalchemy.dialects.sqlite.pysqlite")


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
        """Send a line, and wait for one: only one, since `select` sees no line in a buffer."""
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
    commands = [module.name for module in pkgutil.iter_modules(cli.__path__, "ramp_engine.cli.")]
    for name in (*commands, *_USED_LATER):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # else each program copies all these pages when it looks for garbage in them
    _fork_for_each_request()
    runpy.run_module("ramp_engine", run_name="__main__", alter_sys=True)
