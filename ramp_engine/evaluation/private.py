"""What a participant may know of an error while the test data are predicted.

The message, and the name of a class of their own, might carry test data. They see the class, when
it existed before their code ran, and the line of their file; all else is in the private log.
"""

from __future__ import annotations

import os
import traceback
from pathlib import Path

from .failure import is_below


def known_errors() -> dict[type[BaseException], str]:
    """Return the classes of errors that there are now, with their names."""
    known: dict[type[BaseException], str] = {}
    waiting: list[type[BaseException]] = [BaseException]
    while waiting:
        kind = waiting.pop()
        if kind not in known:
            known[kind] = kind.__name__
            waiting.extend(type.__subclasses__(kind))
    return known


def private_report(
    error: BaseException, submission: str, known: dict[type[BaseException], str]
) -> str:
    """Return class and line of an error, and nothing that could hold data.

    Parameters
    ----------
    error : BaseException
        What their code has raised.
    submission : str
        The folder of the submission.
    known : dict
        What `known_errors` said before their code ran.
    """
    name = next((known[kind] for kind in type(error).__mro__ if kind in known), "Exception")
    place = _place(error, submission)
    return (
        f"{name}{place} while predicting the test data.\n"
        "The message is kept from participants, since it could hold test data.\n"
    )


def _place(error: BaseException, submission: str) -> str:
    """Return the last line in one of their files, if there really is such a line."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = frame.f_code.co_filename
        if is_below(path, submission) and Path(path).is_file() and line <= _n_lines(path):
            place = f" at {os.path.relpath(path, submission)}, line {line},"
    return place


def _n_lines(path: str) -> int:
    return Path(path).read_bytes().count(b"\n") + 1
