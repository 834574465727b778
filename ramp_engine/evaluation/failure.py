"""What can go wrong in a step and who has to mend it.

An error of the kit or of the data is a `KitError`, for the organiser. What the participant's code
or its predictions do wrong is a `PredictionsError` in the score step, and a report
(`participant_report`) in the fold step.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import sysconfig
import traceback
from collections.abc import Iterator
from typing import Any, Optional

#: A report is not longer than this; its middle is left out [characters].
MAX_REPORT = 20_000

#: State in which a fold has failed, by the last state that it has reached.
FAILED_AFTER = {
    "": "training_error",
    "trained": "validating_error",
    "validated": "testing_error",
    "tested": "testing_error",
}

#: What was going on in a fold that failed.
DOING = {
    "training_error": "training",
    "validating_error": "predicting the training data",
    "testing_error": "predicting the test data",
}


class KitError(Exception):
    """The kit, the data or the environment is at fault: the organiser mends it.

    Parameters
    ----------
    message : str
        What happened, to what.
    hint : str
        What to do about it.
    trace : str
        The traceback within the kit's code, if there is one.
    """

    def __init__(self, message: str, hint: str = "", trace: str = "") -> None:
        self.message = message
        self.hint = hint
        self.trace = trace
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into the result file."""
        return {"message": self.message, "hint": self.hint, "traceback": self.trace}


class PredictionsError(Exception):
    """The predictions of a submission cannot be scored.

    Parameters
    ----------
    state : str
        ``validating_error`` or ``testing_error``.
    message : str
        What is wrong with them; holds nothing of the test data.
    fold : int or None
        The fold, None when it is about all of them.
    """

    def __init__(self, state: str, message: str, fold: Optional[int] = None) -> None:
        self.state = state
        self.message = message
        self.fold = fold
        super().__init__(message)

    def to_json(self) -> dict[str, Any]:
        """Return what goes into the result file."""
        return {"state": self.state, "fold": self.fold, "message": self.message}


@contextlib.contextmanager
def kit_code(doing: str, hint: str = "") -> Iterator[None]:
    """Run code of the kit; turn whatever it raises into a `KitError`.

    Parameters
    ----------
    doing : str
        What is being done, as the beginning of a sentence that goes on with "failed".
    hint : str
        What the organiser can do about a failure.
    """
    try:
        yield
    except KitError:
        raise
    except (Exception, SystemExit) as error:
        trace = _format(error, sys.exc_info()[2])
        raise KitError(f"{doing} failed: {one_line(error)}", hint, trace) from error


def one_line(error: BaseException) -> str:
    """Return class and message of an error in one line, whatever its ``str()`` does."""
    lines = traceback.format_exception_only(type(error), error)
    return " ".join(lines[-1].split()) if lines else type(error).__name__


def participant_report(error: BaseException, submission: str, kit: str = "") -> str:
    """Return the traceback of an error, starting in the participant's file.

    Where no line of theirs was involved (a file that cannot be read, say), the frames of the
    workflow that handled the submission are kept instead.

    Parameters
    ----------
    error : BaseException
        What their code has raised.
    submission : str
        The folder of the submission.
    kit : str
        The folder of the kit. Like `submission` and the folders of the environment, it does not
        appear in the report.
    """
    text = _story(error, submission)
    for folder in (submission, kit, *_library_folders()):
        text = text.replace(folder + os.sep, "") if folder else text
    if isinstance(error, SystemExit):
        text = f"The code ended its own process by sys.exit (SystemExit).\n{text}"
    return shorten(text)


def _story(error: BaseException, submission: str) -> str:
    try:
        story = traceback.TracebackException(type(error), error, error.__traceback__)
        _trim(story, submission)
        return "".join(story.format())
    except Exception as other:  # noqa: BLE001 (an exception may be made to break its own printing)
        return f"{type(error).__name__} (its traceback cannot be printed: {type(other).__name__})\n"


def _trim(story: Any, submission: str) -> None:
    """Drop the frames before the participant's first one, in causes and groups as well."""
    is_theirs = _is_theirs(story, submission)
    if is_theirs:
        theirs = [is_below(frame.filename, submission) for frame in story.stack]
        del story.stack[: theirs.index(True) if any(theirs) else len(theirs)]
    else:
        story.stack[:] = [frame for frame in story.stack if not _is_machinery(frame.filename)]
    for name in ("__cause__", "__context__"):
        other = getattr(story, name)
        if other is not None and is_theirs and not _is_theirs(other, submission):
            setattr(story, name, None)  # what went on inside a library
        elif other is not None:
            _trim(other, submission)
    for part in getattr(story, "exceptions", None) or ():
        _trim(part, submission)


def _is_theirs(story: Any, submission: str) -> bool:
    in_syntax_error = getattr(story, "filename", None) or ""
    paths = [frame.filename for frame in story.stack] + [in_syntax_error]
    return any(is_below(path, submission) for path in paths)


def _is_machinery(path: str) -> bool:
    return is_below(path, os.path.dirname(__file__)) or "importlib" in path  # noqa: PTH120


def _library_folders() -> list[str]:
    folders = {path for name, path in sysconfig.get_paths().items() if name.endswith("lib")}
    return sorted(folders, key=len, reverse=True)


def is_below(path: str, folder: str) -> bool:
    """Return whether a path lies in a folder, by their spelling."""
    return path.startswith(folder.rstrip(os.sep) + os.sep)


def shorten(text: str, limit: int = MAX_REPORT) -> str:
    """Return a text without its middle when it is long, and without what UTF-8 cannot hold."""
    if len(text) > limit:
        half = limit // 2
        text = (
            f"{text[:half]}\n  [... {len(text) - 2 * half} characters left out ...]\n{text[-half:]}"
        )
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\0", "\\x00")


def _format(error: BaseException, trace: Any) -> str:
    return shorten("".join(traceback.format_exception(type(error), error, trace)))


def death_report(status: int, state: str) -> str:
    """Return a sentence on a fold whose process has ended before it was done.

    Parameters
    ----------
    status : int
        What ``os.waitpid`` gave.
    state : str
        The error state, which tells what was going on.
    """
    doing = DOING[state]
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        hint = _SIGNAL_HINTS.get(number, "")
        return f"The process was ended by {_signal_name(number)} while {doing}.{hint}\n"
    code = os.WEXITSTATUS(status)
    return (
        f"The code ended its own process (exit code {code}) while {doing}, "
        "before the predictions were there.\n"
    )


def _signal_name(number: int) -> str:
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


_SIGNAL_HINTS: dict[int, str] = {
    signal.SIGSEGV: " This is a segmentation fault: a library that crashed, or endless recursion.",
    signal.SIGKILL: " This is often a sign of too little memory.",
    signal.SIGABRT: " A library gave up; its message is in the log.",
}
