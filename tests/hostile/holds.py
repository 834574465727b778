"""What must hold of a submission that has been evaluated, as small predicates for `cases`.

Each takes an `Aftermath` and gives what does not hold, in words; nothing when it holds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from tests.hostile.aftermath import Aftermath

#: Of a log as long as allowed there is a line besides, on what was left out, in bytes.
_LOG_MARGIN = 200
#: The card for a participant is short, in characters.
_MAX_ERROR_LENGTH = 6000


Predicate = Callable[[Aftermath], str]


def log_says(expression: str) -> Predicate:
    """Ask for something in the participant's log."""
    return lambda found: (
        ""
        if re.search(expression.encode(), found.log)
        else (f"its log does not say {expression!r}")
    )


def private_log_says(expression: str) -> Predicate:
    """Ask for something in the organisers' log."""
    return lambda found: (
        ""
        if re.search(expression.encode(), found.private_log)
        else (f"its private log does not say {expression!r}")
    )


def public_never_says(expression: str) -> Predicate:
    """Ask that a participant reads nothing of the kind, in the log or in the error."""
    return lambda found: (
        f"participants can read {expression!r}"
        if re.search(expression.encode(), found.public)
        else ""
    )


def test_data_stay_private(found: Aftermath) -> str:
    """Tell whether a submission that prints the test data has reached the organisers' log only."""
    if b"while training" not in found.log:
        return "its log does not hold what it printed while it trained"
    if b"petal_width" in found.public:
        return "participants can read test data"
    return "" if b"petal_width" in found.private_log else "the private log holds no test data"


def scored_as_guessed(found: Aftermath) -> str:
    """Tell whether who predicts the same for every flower has the scores of a guess."""
    accuracies = [found.scores.get(f"acc ({step})", 1.0) for step in ("valid", "test")]
    return "" if max(accuracies) < 0.4 else f"its accuracies are {accuracies}"


def no_better_than_a_guess_at_the_test(found: Aftermath) -> str:
    """Tell whether who predicts one species for every flower of the test has the score of that."""
    accuracy = found.scores.get("acc (test)", 1.0)
    return "" if accuracy < 0.4 else f"its accuracy in the test is {accuracy}"


def trained_for_a_moment(found: Aftermath) -> str:
    """Tell whether the time of training that is recorded can be true."""
    seconds = found.train_seconds
    return "" if seconds is not None and 0 <= seconds < 1000 else f"it trained for {seconds} s"


def log_is_cut(found: Aftermath) -> str:
    """Tell whether of both logs the middle was left out once, and the ends were kept."""
    for log, end in ((found.log, b"the end\n"), (found.private_log, b"the private end\n")):
        n_cuts = len(re.findall(rb"\n\[\.\.\. \d+ bytes left out \.\.\.\]\n", log))
        if n_cuts != 1 or not log.endswith(end):
            return f"a log has {n_cuts} cuts and ends with {log[-30:]!r}"
    if not found.log.startswith(b"CV fold 0\nthe beginning\n"):
        return f"the log begins with {found.log[:30]!r}"
    return ""


def well_formed(found: Aftermath, log_mb: float, level: str) -> list[str]:
    """Give what is wrong with any submission, whatever it tried."""
    problems = []
    if found.n_attempts != 1:
        problems.append(f"it took {found.n_attempts} attempts")
    if found.confinement != level:
        problems.append(f"its confinement is recorded as {found.confinement!r}")
    for name, log in (("log", found.log), ("private log", found.private_log)):
        if len(log) > log_mb * (1 << 20) + _LOG_MARGIN:
            problems.append(f"the {name} has {len(log)} bytes")
    if len(found.error) > _MAX_ERROR_LENGTH:
        problems.append(f"its error has {len(found.error)} characters")
    is_over = (found.state == "scored") == (not found.error)
    if not is_over:
        problems.append(f"it is {found.state}, and its error {found.error[:80]!r}")
    problems += [f"{path} was published and is no file" for path in found.irregular]
    return problems


def nothing_got_out(found: Aftermath, secrets: Mapping[str, re.Pattern[bytes]]) -> list[str]:
    """Give the secrets that have come out anywhere, and what the submission says it has gained."""
    places = {"the log": found.log, "the private log": found.private_log}
    places |= {"the error": found.error.encode("utf-8", "backslashreplace"), **found.published}
    problems = []
    for place, content in places.items():
        gained = re.findall(rb"(?:STOLEN|COULD)[^\n]{0,120}", content)
        problems += [f"{place} says {line.decode('utf-8', 'replace')!r}" for line in gained[:3]]
        problems += [
            f"{place} holds {name}" for name, secret in secrets.items() if secret.search(content)
        ]
    return problems
