"""The errors of the project, as far as the database knows them.

::

    RampError
      ConfigError                     one problem of a config file
      ConfigErrors                    all problems of a config file
      DatabaseError
        DatabaseUnavailableError      no connection, or lost
        SchemaError                   tables missing or of another version
        NotFoundError                 no such event, team, submission ...
        AlreadyExistsError            the name is taken
        TransitionError               the state does not allow it
        ClaimLostError                another dispatcher owns the submission by now
      SubmissionRejectedError         the participant can mend it

`ramp_engine.errors` adds those of workers. An error has typed attributes and makes its own message:
what happened, to what, and what to do about it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

__all__ = [
    "AlreadyExistsError",
    "ClaimLostError",
    "ConfigError",
    "ConfigErrors",
    "DatabaseError",
    "DatabaseUnavailableError",
    "NotFoundError",
    "RampError",
    "SchemaError",
    "SubmissionRejectedError",
    "TransitionError",
    "nearest",
]


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Give the known name that is most like `name`, or None when none is like it."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


class RampError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigError(RampError):
    """One problem of a config file.

    To do: mend the line that it names; ``ramp config check`` tells whether all is well then.

    Parameters
    ----------
    path : Path
        The file.
    key : str
        The dotted key, such as ``worker.timeout``; empty for the whole file.
    expected : str
        What would have been right.
    found : str, optional
        What stands there, quoted; secrets are masked by the caller.
    line : int, optional
        Line in the file, from 1.
    suggestion : str, optional
        The nearest known key.
    """

    def __init__(
        self,
        path: Path,
        key: str,
        expected: str,
        *,
        found: str | None = None,
        line: int | None = None,
        suggestion: str | None = None,
    ) -> None:
        self.path = path
        self.key = key
        self.expected = expected
        self.found = found
        self.line = line
        self.suggestion = suggestion
        super().__init__(self._message())

    def _message(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        text = f"{place}: {self.key}: " if self.key else f"{place}: "
        text += f"expected {self.expected}"
        if self.found is not None:
            text += f", found {self.found}"
        if self.suggestion is not None:
            text += f"; did you mean {self.suggestion!r}?"
        return text


class ConfigErrors(RampError):
    """Every problem of a config file, so that they can be mended at once.

    To do: mend each of them; ``ramp config check`` tells whether all is well then.
    """

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        self.errors = tuple(errors)
        super().__init__("\n".join(str(error) for error in self.errors))


class DatabaseError(RampError):
    """Something about the database."""


class DatabaseUnavailableError(DatabaseError):
    """The database cannot be reached, or the connection was lost.

    To do: see that the server runs and lets this machine in, and that the section
    ``sqlalchemy`` of config.yml names it. Dispatchers wait for it and go on by themselves.

    Parameters
    ----------
    url : str
        Where it should be, with the password masked.
    reason : str
        What the driver said, in one line.
    """

    def __init__(self, url: str, reason: str) -> None:
        self.url = url
        self.reason = reason
        super().__init__(
            f"the database {url} cannot be reached: {reason}. "
            "Check `sqlalchemy:` in config.yml and that the server is running"
        )


class SchemaError(DatabaseError):
    """The tables are missing, or of another version than this program.

    To do: run ``ramp database upgrade``; where the schema is newer than the program, install the
    version of ramp that the other machines have.

    Parameters
    ----------
    url : str
        The database, with the password masked.
    found, expected : str or None
        Revisions; None stands for no tables at all.
    """

    def __init__(self, url: str, found: str | None, expected: str) -> None:
        self.url = url
        self.found = found
        self.expected = expected
        state = "has no tables of ramp" if found is None else f"has schema {found}"
        super().__init__(
            f"the database {url} {state}, this program needs schema {expected}. "
            "Run `ramp database upgrade`"
        )


class NotFoundError(DatabaseError):
    """There is no row of that name.

    To do: see whether the name is misspelt (the nearest known one is suggested), and whether this
    is the right deployment: ``--config`` names its file.

    Parameters
    ----------
    kind : str
        What was looked for, such as ``event``.
    name : str or int
        The name or number that was asked for.
    known : sequence of str
        Names that there are; the nearest is suggested.
    hint : str
        What to do, when the caller knows.
    """

    def __init__(
        self, kind: str, name: str | int, known: Sequence[str] = (), hint: str = ""
    ) -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(known)
        text = f"there is no {kind} {name!r}"
        suggestion = nearest(str(name), known)
        if suggestion is not None:
            text += f"; did you mean {suggestion!r}?"
        elif known:
            text += "; there are " + ", ".join(repr(item) for item in known[:10])
        if hint:
            text += f" {hint}" if text.endswith("?") else f". {hint}"
        super().__init__(text)


class AlreadyExistsError(DatabaseError):
    """The name is taken.

    To do: choose another name, or go on with what is there; nothing was changed.

    Parameters
    ----------
    kind, name : str
        What there is already.
    hint : str
        What to do instead.
    """

    def __init__(self, kind: str, name: str, hint: str = "") -> None:
        self.kind = kind
        self.name = name
        super().__init__(f"the {kind} {name!r} exists already" + (f". {hint}" if hint else ""))


class TransitionError(DatabaseError):
    """The state of a submission does not allow what was asked.

    To do: ``ramp explain ID`` tells what happened to the submission, and who did it; the message
    names the command that is meant for its state.

    Parameters
    ----------
    submission_id : int
    source, target : str
        The state that it has and the one that was asked for.
    hint : str
        What to do instead.
    """

    def __init__(self, submission_id: int, source: str, target: str, hint: str = "") -> None:
        self.submission_id = submission_id
        self.source = source
        self.target = target
        text = f"submission {submission_id} is {source!r} and cannot become {target!r}"
        super().__init__(text + (f". {hint}" if hint else ""))


class ClaimLostError(DatabaseError):
    """Another dispatcher, or the organiser, took the submission: nothing was recorded.

    To do: nothing; whoever took it records the outcome, and ``ramp explain ID`` tells who that is.
    When it happens often, dispatchers are too busy to prove that they live: see
    ``stale_after_seconds``.

    Parameters
    ----------
    submission_id : int
    attempt : int
        The attempt whose claim is lost, from 1.
    """

    def __init__(self, submission_id: int, attempt: int) -> None:
        self.submission_id = submission_id
        self.attempt = attempt
        super().__init__(
            f"attempt {attempt} of submission {submission_id} is no longer this dispatcher's; "
            "nothing of it was recorded"
        )


class SubmissionRejectedError(RampError):
    """A submission was not taken; the participant can mend it.

    To do: what the message says, and submit again; not before ``retry_at``, where there is one.

    Parameters
    ----------
    reason : str
        What is wrong with it.
    hint : str
        What to do.
    retry_at : datetime, optional
        When it may come back, aware.
    """

    def __init__(self, reason: str, hint: str = "", retry_at: datetime | None = None) -> None:
        self.reason = reason
        self.hint = hint
        self.retry_at = retry_at
        super().__init__(f"submission not taken: {reason}" + (f". {hint}" if hint else ""))
