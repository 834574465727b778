"""The results of a submission, as the score step tells them, and how they are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Self

from sqlalchemy import Select, bindparam, delete, select
from sqlalchemy.orm import Session

from ramp_database.errors import DatabaseError
from ramp_database.model import BaggedScore, FoldScore, FoldTime, ScoreType, Submission
from ramp_database.numbers import finite, mean_and_std
from ramp_database.ranking import order_of
from ramp_database.statements import insert_rows

#: The columns of `Submission` that repeat the official scores: for people, and to sort by.
PLACES = ("public_score", "private_score", "public_order", "private_order")


@dataclass(frozen=True)
class StepScores:
    """The scores of one fold by one score type; None for what is no finite number."""

    train: float | None  #: on the rows that it was trained on
    valid: float | None  #: on the rows held out
    test: float | None = None  #: on the test data


@dataclass(frozen=True)
class StepTimes:
    """How long the steps of one fold took, in seconds; None where it is not known."""

    train: float | None = None
    valid: float | None = None
    test: float | None = None


@dataclass(frozen=True)
class FoldResult:
    """What one fold gave."""

    fold: int  #: from 0
    scores: Mapping[str, StepScores]  #: by the name of the score type
    times: StepTimes = StepTimes()


@dataclass(frozen=True)
class BaggedScores:
    """The scores of the folds' combined predictions by one score type; None as in `StepScores`."""

    valid: float | None
    test: float | None = None


@dataclass(frozen=True)
class Results:
    """All scores of a submission."""

    folds: tuple[FoldResult, ...]  #: in their order
    bagged: Mapping[str, BaggedScores]  #: by the name of the score type

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """Read what the score step writes.

        Parameters
        ----------
        value : mapping
            ``{"folds": [{"fold": i, "scores": {NAME: {"train", "valid", "test"}}, "times":
            {"train", "valid", "test"}}], "bagged": {NAME: {"valid", "test"}}}``; times in seconds.

        Raises
        ------
        DatabaseError
            Something is missing or is no number.
        """
        try:
            folds = tuple(_fold(one) for one in value["folds"])
            bagged = {
                str(name): BaggedScores(finite(one["valid"]), finite(one.get("test")))
                for name, one in value["bagged"].items()
            }
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            reason = f"{type(error).__name__}: {error}"
            raise DatabaseError(f"the results of the score step are malformed: {reason}") from error
        return cls(folds, bagged)


def _fold(value: Mapping[str, Any]) -> FoldResult:
    scores = {
        str(name): StepScores(finite(one["train"]), finite(one["valid"]), finite(one.get("test")))
        for name, one in value["scores"].items()
    }
    times = value.get("times", {})
    steps = StepTimes(*(finite(times.get(step)) for step in ("train", "valid", "test")))
    return FoldResult(int(value["fold"]), scores, steps)


def score_types(session: Session, submission_id: int) -> list[ScoreType]:
    """List the score types of a submission's event, the official one first."""
    return list(session.scalars(_reading_score_types(), {"the_submission": submission_id}))


@cache
def _reading_score_types() -> Select[ScoreType]:
    return (
        select(ScoreType)
        .join(Submission, Submission.event_id == ScoreType.event_id)
        .where(Submission.id == bindparam("the_submission"))
        .order_by(ScoreType.position)
    )


def summary(kinds: Sequence[ScoreType], results: Results) -> dict[str, float | None]:
    """Give the values of the columns of `Submission` that repeat the results.

    Parameters
    ----------
    kinds : sequence of ScoreType
        Those of the event, the official one first.
    results : Results

    Returns
    -------
    dict
        Official scores, places in the order, and times.

    Raises
    ------
    DatabaseError
        There are no results, or they are not those of the score types.
    """
    expected = {kind.name for kind in kinds}
    found = [results.bagged.keys(), *(fold.scores.keys() for fold in results.folds)]
    if not results.folds or any(names != expected for names in found):
        raise DatabaseError(
            f"the results are not those of the score types {sorted(expected)}: "
            "deploy the event again when its problem.py has changed"
        )
    return _official_columns(kinds[0], results) | {
        "train_seconds": _total(results, lambda times: times.train),
        "valid_seconds": _total(results, lambda times: times.valid),
        "test_seconds": _total(results, lambda times: times.test),
    }


def store(
    session: Session, submission_id: int, kinds: Sequence[ScoreType], results: Results
) -> None:
    """Store the rows of the results of a submission that has none.

    Parameters
    ----------
    session : Session
    submission_id : int
    kinds : sequence of ScoreType
        Those of the event.
    results : Results

    Notes
    -----
    Three round trips, whatever the number of folds.
    """
    ids = {kind.name: kind.id for kind in kinds}
    insert_rows(session, FoldScore, list(fold_rows(submission_id, ids, results)))
    insert_rows(session, FoldTime, list(_time_rows(submission_id, results)))
    insert_rows(session, BaggedScore, [bagged_row(submission_id, kind, results) for kind in kinds])


def discard(session: Session, submission_id: int) -> None:
    """Delete the rows of the results of a submission."""
    for table in (FoldScore, FoldTime, BaggedScore):
        session.execute(
            delete(table).where(table.submission_id == submission_id),
            execution_options={"synchronize_session": False},
        )


def fold_rows(
    submission_id: int, ids: Mapping[str, int], results: Results
) -> Iterable[dict[str, Any]]:
    """Give the rows of `FoldScore`; `ids` are those of the score types, by their names."""
    for fold in results.folds:
        for name, scores in fold.scores.items():
            yield {
                "submission_id": submission_id,
                "fold": fold.fold,
                "score_type_id": ids[name],
                "train": finite(scores.train),
                "valid": finite(scores.valid),
                "test": finite(scores.test),
            }


def _time_rows(submission_id: int, results: Results) -> Iterable[dict[str, Any]]:
    for fold in results.folds:
        yield {
            "submission_id": submission_id,
            "fold": fold.fold,
            "train_seconds": finite(fold.times.train),
            "valid_seconds": finite(fold.times.valid),
            "test_seconds": finite(fold.times.test),
        }


def bagged_row(submission_id: int, kind: ScoreType, results: Results) -> dict[str, Any]:
    """Give the row of `BaggedScore` of one score type."""
    bagged = results.bagged[kind.name]
    of_folds = [fold.scores[kind.name] for fold in results.folds]
    valid_mean, valid_std = mean_and_std([finite(scores.valid) for scores in of_folds])
    test_mean, test_std = mean_and_std([finite(scores.test) for scores in of_folds])
    return {
        "submission_id": submission_id,
        "score_type_id": kind.id,
        "valid_bag": finite(bagged.valid),
        "valid_mean": valid_mean,
        "valid_std": valid_std,
        "test_bag": finite(bagged.test),
        "test_mean": test_mean,
        "test_std": test_std,
    }


def _official_columns(official: ScoreType, results: Results) -> dict[str, float | None]:
    bagged = results.bagged[official.name]
    public, private = finite(bagged.valid), finite(bagged.test)
    is_lower = official.is_lower_the_better
    return {
        "public_score": public,
        "private_score": private,
        "public_order": order_of(public, is_lower_the_better=is_lower),
        "private_order": order_of(private, is_lower_the_better=is_lower),
    }


def _total(results: Results, step: Callable[[StepTimes], float | None]) -> float | None:
    """Add up the seconds of the folds; None when one is not known."""
    seconds = [finite(step(fold.times)) for fold in results.folds]
    known = [value for value in seconds if value is not None]
    return sum(known) if len(known) == len(seconds) else None
