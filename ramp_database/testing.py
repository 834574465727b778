"""A throw-away database and a toy event, for tests here and of plugins.

::

    with temporary_database() as database, database.session() as session:
        event = add_toy_event(session)
        submission = add_toy_submission(session)
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.orm import Session

from ramp_database import people, submissions
from ramp_database.events import EventSpec, FoldSpec, ScoreTypeSpec, add_event
from ramp_database.model import Event, Submission
from ramp_database.results import BaggedScores, FoldResult, Results, StepScores, StepTimes
from ramp_database.session import Database

__all__ = [
    "ACCURACY",
    "TOY",
    "add_toy_event",
    "add_toy_submission",
    "temporary_database",
    "toy_results",
    "toy_spec",
]

#: Name of the toy event.
TOY = "toy"
#: Its score type: the higher the better.
ACCURACY = ScoreTypeSpec("accuracy", 3, is_lower_the_better=False, minimum=0.0, maximum=1.0)

_numbers = itertools.count(1)


@contextmanager
def temporary_database() -> Iterator[Database]:
    """Make a SQLite database with all tables that goes with the block.

    Yields
    ------
    Database
    """
    with tempfile.TemporaryDirectory(prefix="ramp-database-") as directory:
        database = Database(f"sqlite:///{Path(directory, 'ramp.db')}")
        try:
            database.upgrade()
            yield database
        finally:
            database.dispose()


def toy_spec(
    *, n_folds: int = 2, score_types: tuple[ScoreTypeSpec, ...] = (ACCURACY,), title: str = "Toy"
) -> EventSpec:
    """Describe a toy event: 10 rows to train on for each fold, one required file."""
    return EventSpec(
        title=title,
        is_public=True,
        config_path="events/toy/config.yml",
        score_types=score_types,
        folds=tuple(FoldSpec(8, 2, f"fold {number}".encode()) for number in range(n_folds)),
        n_train=10 * n_folds,
        n_test=10,
        bundle_hash="bundle",
        kit_hash="kit",
        data_hash="data",
        folds_hash="folds",
        environment_hash="environment",
        required_files=("estimator.py",),
    )


def add_toy_event(
    session: Session,
    name: str = TOY,
    *,
    n_folds: int = 2,
    score_types: tuple[ScoreTypeSpec, ...] = (ACCURACY,),
) -> Event:
    """Add a toy event about the problem of the same name."""
    return add_event(session, name, name, toy_spec(n_folds=n_folds, score_types=score_types))


def add_toy_submission(
    session: Session, event_name: str = TOY, team_name: str = "team", name: str | None = None
) -> Submission:
    """Add a submission; its team is made and signed up where that is not done."""
    people.ensure_signed_up(session, event_name, team_name)
    files = [submissions.SubmissionFile("estimator.py", b"answer = 42\n")]
    name = name or f"submission {next(_numbers)}"
    return submissions.add(session, event_name, team_name, name, files)


def toy_results(
    valid: float | None,
    test: float | None = None,
    *,
    n_folds: int = 2,
    names: tuple[str, ...] = (ACCURACY.name,),
) -> Results:
    """Make results in which every fold and the bagged predictions score the same.

    Parameters
    ----------
    valid, test : float or None
        The score; that on the test data is the validation score where it is not given.
    n_folds : int
    names : tuple of str
        The score types.
    """
    test = valid if test is None else test
    scores = {name: StepScores(valid, valid, test) for name in names}
    folds = tuple(FoldResult(number, scores, StepTimes(1.0, 0.1, 0.1)) for number in range(n_folds))
    return Results(folds, {name: BaggedScores(valid, test) for name in names})
