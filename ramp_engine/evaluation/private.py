"""What a participant may know of a failure while the test data are predicted.

The message, and the name of a class of their own, might carry test data. So the child sends facts
instead of a report, and the parent, in which no code of theirs runs, checks each of them and makes
the report: a class that existed before their code ran, and a line that is in their file. All else
is in the private log.
"""

from __future__ import annotations

import json
import os
import traceback
from functools import lru_cache
from pathlib import Path
from typing import Any, Optional

from .failure import is_below

#: First line on the pipe from child to parent: it is confined as asked; no code of theirs has run.
BEGUN = b"begun\n"
#: Then: the participant's code begins now.
TRAINING = b"training\n"
#: Then: it has trained.
TRAINED = b"trained\n"
#: Then: it has predicted the training data, and waits for the test data.
TESTING = b"testing\n"

#: What is read of that pipe at most [bytes].
MAX_FACTS = 4096


@lru_cache(maxsize=None)
def known_errors() -> dict[type[BaseException], str]:
    """Return the classes of errors that there were at the first call, with their names.

    A process that forks calls it once for all: to look at a class is to copy its page.
    """
    known: dict[type[BaseException], str] = {}
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        kind = waiting.pop()
        if kind not in known:
            known[kind] = kind.__name__
            waiting.extend(type.__subclasses__(kind))
    return known


def facts(error: BaseException, submission: str, known: dict[type[BaseException], str]) -> bytes:
    """Return class and place of an error, as the child sends them.

    Parameters
    ----------
    error : BaseException
        What the participant's code has raised.
    submission : str
        The folder of the submission.
    known : dict
        What `known_errors` said before their code ran.
    """
    name = next((known[kind] for kind in type(error).__mro__ if kind in known), "Exception")
    path, line = "", 0
    for frame, frame_line in traceback.walk_tb(error.__traceback__):
        if is_below(frame.f_code.co_filename, submission):
            path, line = os.path.relpath(frame.f_code.co_filename, submission), frame_line
    return json.dumps({"error": name, "path": path, "line": line}).encode()


def report(sent: bytes, submission: Path, known: dict[type[BaseException], str]) -> Optional[str]:
    """Return what the participant is told, made of facts that are checked.

    Parameters
    ----------
    sent : bytes
        What came through the pipe after the release; not trusted.
    submission : Path
        The folder of the submission.
    known : dict
        What `known_errors` said before their code ran.

    Returns
    -------
    str or None
        None when no error was sent.
    """
    try:
        content: dict[str, Any] = json.loads(sent)
        name, path, line = content["error"], content["path"], content["line"]
    except (ValueError, TypeError, KeyError):
        return None
    shown = name if name in known.values() else "Exception"
    place = f" at {path}, line {line}," if _is_place(submission, path, line) else ""
    return (
        f"{shown}{place} while predicting the test data.\n"
        "The message is kept from participants, since it could hold test data.\n"
    )


def _is_place(submission: Path, path: Any, line: Any) -> bool:
    files = {str(file.relative_to(submission)): file for file in submission.rglob("*.py")}
    if not isinstance(path, str) or path not in files or type(line) is not int:
        return False
    return 0 < line <= files[path].read_bytes().count(b"\n") + 1
