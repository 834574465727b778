"""A command for another machine, and what came of it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Completed", "as_line", "shortened"]

#: How much of a command a message quotes, in characters.
QUOTED_LENGTH = 120


@dataclass(frozen=True)
class Completed:
    """A command that has ended."""

    #: Its exit code; -1, or 128 + its number from a shell in between: a signal ended it.
    returncode: int
    #: What it printed, as bytes: nothing says that it is text.
    stdout: bytes
    #: What it printed beside that.
    stderr: bytes


def as_line(command: Sequence[str]) -> bytes:
    """Quote the words of a command for a POSIX shell: no word is ever read as more than a word.

    Raises
    ------
    ValueError
        There is no word, or a word has a null character.
    """
    line = os.fsencode(shlex.join(command))
    if not line or b"\0" in line:
        raise ValueError(f"no command: {list(command)!r}")
    return line


def shortened(line: bytes) -> str:
    """Give a command as messages quote it: of one line, and never long."""
    text = " ".join(line.decode("utf-8", "replace").split())
    return text if len(text) <= QUOTED_LENGTH else text[: QUOTED_LENGTH - 1] + "…"
