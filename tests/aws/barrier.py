"""A place where machines of a farm hold a command that a test waits for: before it runs, or after.

What is held never answers: the one who has asked dies meanwhile, or its connection breaks.
"""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["Barrier"]

_SHELL = """\
[ -e {folder}/held ] || exec "$SHELL" -c "$SSH_ORIGINAL_COMMAND"
exec {python} -I -S {folder}/holding.py
"""

_HOLDING = """\
import json, os, pathlib, subprocess, sys, time

folder = pathlib.Path(__file__).parent
shell = [os.environ["SHELL"], "-c", os.environ["SSH_ORIGINAL_COMMAND"]]
held, when = (folder / "held").read_text().split()


def hold():
    (folder / "reached").touch()
    while (folder / "held").exists():
        time.sleep(0.02)
    sys.exit(1)


if shell[2].endswith("sftp-server"):
    if held == "sftp":
        hold()
    os.execv(shell[0], shell)
asked = sys.stdin.buffer.read()
is_it = "program-" in shell[2] and json.loads(asked)["op"] == held
if is_it and when == "before":
    hold()
done = subprocess.run(shell, input=asked, stdout=subprocess.PIPE)
if is_it:
    hold()
sys.stdout.buffer.write(done.stdout)
sys.stdout.flush()
sys.exit(done.returncode)
"""


class Barrier:
    """Hold commands on machines whose sshd has `config`.

    Parameters
    ----------
    folder : Path
        Made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        words = {"folder": folder, "python": sys.executable}
        (folder / "shell").write_text(_SHELL.format(**words))
        (folder / "holding.py").write_text(_HOLDING)

    @property
    def config(self) -> str:
        """Lines for sshd."""
        return f'ForceCommand cd "$HOME" && exec sh {self._folder}/shell'

    def close(self, what: str, when: str = "before") -> None:
        """Hold the next commands that ask for this; ``sftp``: that begin to transfer files."""
        (self._folder / "reached").unlink(missing_ok=True)
        (self._folder / "held").write_text(f"{what} {when}")

    @property
    def is_reached(self) -> bool:
        """Whether a command is held, or was since `close`."""
        return (self._folder / "reached").exists()

    def open(self) -> None:
        """Hold nothing any more; what was held fails."""
        (self._folder / "held").unlink(missing_ok=True)
