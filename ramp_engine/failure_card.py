"""What a participant reads of a failure: a card of a few lines in place of a traceback.

A pure function makes it of the verdict. Its first line tells the story alone, since lists show no
more. The traceback stays in the log. What failed while the test data were predicted is told by
class and line only: of a traceback that comes from there nothing else is taken.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum

from ramp_database.states import State
from ramp_engine.outcome import Outcome, Verdict

__all__ = ["Cause", "Subject", "card", "with_card"]

#: The longest line of a card, in characters.
MAX_LINE = 300


class Cause(StrEnum):
    """What kind of failure it was."""

    IMPORT = "import missing"
    EXCEPTION = "exception"
    SYNTAX = "syntax error"
    SHAPE = "wrong shape"
    NAN = "NaN"
    PREDICTIONS = "predictions that cannot be used"
    TIME = "time"
    MEMORY = "memory"
    DISK = "disk"
    LIMIT = "limit"
    ENDED = "the process ended"
    PLATFORM = "platform"


@dataclass(frozen=True)
class Subject:
    """The submission that failed."""

    name: str  #: as its team calls it
    number: int | None = None  #: None outside a deployment, where no command knows it
    files: Collection[str] = ()  #: paths of its files, where they are known


@dataclass(frozen=True)
class _Told:
    """What an error text tells."""

    sentence: str  #: class and message of an exception, or what was said in its place
    exception: str = ""  #: name of the class, without its module; empty when none was raised
    file: str = ""  #: the participant's, with the line
    line: int = 0
    code: str = ""  #: that line


#: What was going on, by the state that followed.
_PHASES = {
    State.TRAINING_ERROR: "training",
    State.VALIDATING_ERROR: "predicting the training data",
    State.TESTING_ERROR: "predicting the test data",
}
_ADVICE = {
    Cause.IMPORT: "do without it, or ask the organisers: they decide which packages there are.",
    Cause.EXCEPTION: "look at that line, and at the whole traceback in the log.",
    Cause.SYNTAX: "the file is no valid Python: mend that line, or the one above it.",
    Cause.SHAPE: "return one row of predictions for each row of X, with the columns of the kit.",
    Cause.NAN: "look for NaN in X, divisions by zero and overflows; predict a number for each row.",
    Cause.PREDICTIONS: "return an array of numbers, as the starting kit does.",
    Cause.TIME: "train on less data or with a smaller model, and see how long a fold takes.",
    Cause.MEMORY: "use smaller types, batches or fewer processes; copies of X count as well.",
    Cause.DISK: "write less, and delete files of your own that are no longer needed.",
    Cause.LIMIT: "stay below that limit, or ask the organisers to raise it.",
    Cause.ENDED: "leave out os._exit, sys.exit and signals; see the end of the log.",
    Cause.PLATFORM: "nothing: it was not your fault. The organisers see it and mend it, "
    "then your submission is evaluated again.",
}
_CAUSES_BY_CLASS = {
    "ModuleNotFoundError": Cause.IMPORT,
    "ImportError": Cause.IMPORT,
    "MemoryError": Cause.MEMORY,
    "_ArrayMemoryError": Cause.MEMORY,
    "OutOfMemoryError": Cause.MEMORY,
    "SyntaxError": Cause.SYNTAX,
    "IndentationError": Cause.SYNTAX,
    "TabError": Cause.SYNTAX,
    "SystemExit": Cause.ENDED,
}
#: Causes by what is said where no exception is known; the first that matches counts.
_CAUSES_BY_WORDS = [
    (re.compile(r"\bNaN\b"), Cause.NAN),
    (re.compile(r"\bshape\b|cannot be made an array|\bno array\b"), Cause.SHAPE),
    (re.compile(r"\bpredictions\b.*(cannot|are|must|have|no)\b"), Cause.PREDICTIONS),
    (re.compile(r"SIGKILL|[Oo]ut of memory"), Cause.MEMORY),
    (re.compile(r"signal|SIG[A-Z]+|ended|exit code|killed"), Cause.ENDED),
]
_DISK_FULL = re.compile(r"\[Errno (27|28|122)\]")  # file too large, no space, quota
#: Limits of which there is more to say than that they are limits.
_LIMITS_BY_WORDS = [
    (re.compile(r"out of (CPU )?time"), Cause.TIME),
    (re.compile(r"out of memory"), Cause.MEMORY),
    (re.compile(r"\bdisk\b|\boutput\b|\bfile is too large|too many files"), Cause.DISK),
]
_LIMITS = (Outcome.LIMIT_EXCEEDED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT)
_FRAME = re.compile(r'^ *(?:\| *)*File "(?P<file>[^"\n]+)", line (?P<line>\d+)')
_RAISED = re.compile(r"^(?:[A-Za-z_]\w*\.)*(?P<name>[A-Za-z_]\w*)(?::|$)")
#: What the fold step tells of an exception in the test.
_IN_TEST = re.compile(
    r"(?P<name>[A-Za-z_]\w*)(?: at (?P<file>.+), line (?P<line>\d+),)? while predicting the test "
)
_MISSING_MODULE = re.compile(r"No module named '([^'.]+)")


def with_card(verdict: Verdict, subject: Subject) -> Verdict:
    """Put a card in place of the error of a participant's failure.

    What failed on our side, or was interrupted or canceled, keeps its reason: whether it is tried
    again is not known here, and the queue tells its team.
    """
    if verdict.state in _PHASES:
        return replace(verdict, error=card(verdict, subject))
    return verdict


def card(verdict: Verdict, subject: Subject) -> str:
    """Tell what failed, where, why, what to do, and how to see it at home.

    Parameters
    ----------
    verdict : Verdict
        Its error is a traceback or a sentence, and may hold anything.
    subject : Subject

    Returns
    -------
    str
        Four to seven lines; the first tells the story alone.
    """
    told = _told(verdict, subject)
    cause = _cause(verdict, told)
    lines = [_headline(verdict, told, cause)]
    if told.code:
        lines.append(f"  code:     {told.code}")
    lines += [f"  cause:    {cause}", f"  to do:    {_advice(cause, told)}"]
    if cause is not Cause.PLATFORM:
        command = f"ramp-test --submission {shlex.quote(subject.name)}"
        lines.append(f"  at home:  {command}   (in the folder of the starting kit)")
    if subject.number is not None:
        lines.append(f"  its log:  ramp logs {subject.number}")
    return "\n".join(line[:MAX_LINE] for line in lines)


def _headline(verdict: Verdict, told: _Told, cause: Cause) -> str:
    if cause is Cause.PLATFORM:
        return f"The platform failed, not your code: {told.sentence}"
    phase = _PHASES.get(verdict.state) if verdict.state else None
    where = [f"fold {verdict.fold}"] if verdict.fold is not None else []
    where += [phase] if phase else []
    said = told.sentence
    where = [place for place in where if not re.search(rf"\b{place}\b", said)]
    text = f"{', '.join(where)}: {said}" if where else said
    return f"{text} ({told.file}, line {told.line})" if told.file else text


def _advice(cause: Cause, told: _Told) -> str:
    module = _MISSING_MODULE.search(told.sentence)
    if cause is Cause.IMPORT and module:
        return f"the package of {module[1]!r} is not installed here; {_ADVICE[cause]}"
    return _ADVICE[cause]


def _cause(verdict: Verdict, told: _Told) -> Cause:
    known = {
        Outcome.CRASHED: Cause.PLATFORM,
        Outcome.INTERRUPTED: Cause.PLATFORM,
        Outcome.TIMED_OUT: Cause.TIME,
        Outcome.OUT_OF_MEMORY: Cause.MEMORY,
    }.get(verdict.outcome)
    if known is not None:
        return known
    if verdict.outcome is Outcome.LIMIT_EXCEEDED:
        return _by_words(_LIMITS_BY_WORDS, told.sentence, Cause.LIMIT)
    if told.exception == "OSError" and _DISK_FULL.search(told.sentence):
        return Cause.DISK
    if told.exception:
        return _CAUSES_BY_CLASS.get(told.exception, Cause.EXCEPTION)
    return _by_words(_CAUSES_BY_WORDS, told.sentence, Cause.EXCEPTION)


def _by_words(rules: list[tuple[re.Pattern[str], Cause]], text: str, otherwise: Cause) -> Cause:
    return next((cause for words, cause in rules if words.search(text)), otherwise)


def _told(verdict: Verdict, subject: Subject) -> _Told:
    """Read an error, whoever wrote it."""
    lines = [line for line in (verdict.error or "").splitlines() if line.strip()]
    frames = [(number, match) for number, line in enumerate(lines) if (match := _FRAME.match(line))]
    if verdict.outcome in _LIMITS and lines and not lines[0].startswith("Traceback"):
        return replace(_placed(_Told(_one_line(lines[0])), lines, frames, subject), code="")
    if verdict.state is State.TESTING_ERROR:
        return _told_of_test(lines, frames, subject)
    if not frames and not any(line.startswith("Traceback") for line in lines):
        return _Told(_one_line(lines[0]) if lines else "no reason was left")
    begin = frames[-1][0] + 1 if frames else 0
    after = (line for line in lines[begin:] if not line.startswith((" ", "Traceback")))
    raised = next((line for line in after if _RAISED.match(line)), lines[-1])
    match = _RAISED.match(raised)
    told = _Told(_one_line(raised), match["name"] if match else "")
    return _placed(told, lines, frames, subject)


def _told_of_test(
    lines: list[str], frames: list[tuple[int, re.Match[str]]], subject: Subject
) -> _Told:
    """Read what is known of a failure in the test; a message could hold test data."""
    sentence = _one_line(lines[0]) if lines else "no reason was left"
    if match := _IN_TEST.match(sentence):
        file = match["file"] or ""
        return _Told(match["name"], match["name"], file, int(match["line"] or 0))
    if not frames and not sentence.startswith("Traceback"):
        return _Told(sentence)
    raised = _RAISED.match(lines[-1])
    name = raised["name"][:80] if raised else "an exception"
    return replace(_placed(_Told(name, name), lines, frames, subject), code="")


def _placed(
    told: _Told, lines: list[str], frames: list[tuple[int, re.Match[str]]], subject: Subject
) -> _Told:
    """Add the innermost line of the participant's own files."""
    for number, frame in reversed(frames):
        file = _own_file(frame["file"], subject.files)
        if file:
            after = lines[number + 1] if number + 1 < len(lines) else ""
            code = after.strip() if after.startswith(" ") and not _FRAME.match(after) else ""
            return replace(told, file=file, line=int(frame["line"]), code=_one_line(code))
    return told


def _own_file(path: str, files: Collection[str]) -> str:
    """Find the participant's file that a traceback names; workers of plugins name it absolutely."""
    if path in files:
        return path
    is_theirs = path.startswith("/") and "site-packages" not in path
    return next((file for file in files if is_theirs and path.endswith(f"/{file}")), "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[: MAX_LINE - 80]
