"""Instances that do as a test says: what commands there ask for is held, or answered by a lie."""

from __future__ import annotations

import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

__all__ = ["Puppeteer"]

#: Found as `python3` on the machines: the program's requests pass through it.
_PYTHON = """\
#!{python} -IS
import json, os, pathlib, sys, time
content = sys.stdin.buffer.read()
orders = pathlib.Path({orders!r}, json.loads(content)["op"])
if (orders / "hold").exists():
    (orders / "held").touch()
    while (orders / "hold").exists():
        time.sleep(0.02)
if (orders / "answer").exists():
    print((orders / "answer").read_text())
    sys.exit()
told = os.memfd_create("request")
os.write(told, content)
os.lseek(told, 0, os.SEEK_SET)
os.dup2(told, 0)
os.execv({python!r}, [{python!r}, *sys.argv[1:]])
"""


class Puppeteer:
    """Orders for all machines that have its `environment`.

    Parameters
    ----------
    folder : Path
        Made; everybody may look into it.
    """

    def __init__(self, folder: Path) -> None:
        self._orders = folder / "orders"
        self._orders.mkdir(parents=True)
        program = folder / "bin" / "python3"
        program.parent.mkdir()
        program.write_text(_PYTHON.format(python=sys.executable, orders=str(self._orders)))
        program.chmod(stat.S_IRWXU)
        #: For the machines.
        self.environment = {"PATH": f"{program.parent}:{os.environ['PATH']}"}

    def _of(self, operation: str) -> Path:
        folder = self._orders / operation
        folder.mkdir(exist_ok=True)
        return folder

    def hold(self, operation: str) -> None:
        """Have what is asked for wait."""
        (self._of(operation) / "hold").touch()

    def holds(self, operation: str) -> bool:
        """Tell whether somebody waits."""
        return (self._of(operation) / "held").exists()

    def lie(self, operation: str, answer: Any) -> None:
        """Have something else answered: an object as JSON, a text as it is."""
        text = answer if isinstance(answer, str) else json.dumps(answer)
        (self._of(operation) / "answer").write_text(text)

    def rest(self) -> None:
        """Let go of all that waits, and have all that comes be honest."""
        for path in self._orders.glob("*/*"):
            path.unlink(missing_ok=True)
