"""Leaderboards: a query, never a stored copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Row, Select, Subquery, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from ramp_database.model import (
    BaggedScore,
    Contributivity,
    EventTeam,
    ScoreType,
    Submission,
    Team,
)
from ramp_database.queue.counting import count_scored


@dataclass(frozen=True)
class ScoreSummary:
    """The scores of a submission by one score type; None for what is no finite number."""

    bag: float | None  #: of the predictions of all folds combined
    mean: float | None  #: over the folds
    std: float | None  #: sample standard deviation over the folds, 0 for one fold


@dataclass(frozen=True)
class LeaderboardRow:
    """A scored submission and its rank."""

    rank: int  #: from 1; ties share one, and the next is as many further: 1, 2, 2, 4
    team: str
    submission: str
    submission_id: int
    score: float | None  #: official and bagged: validation, or test on a private leaderboard
    scores: dict[str, ScoreSummary]  #: validation scores, the official one first
    private_scores: dict[str, ScoreSummary] | None  #: test scores; None on a public leaderboard
    #: Percent of the event's newest blend; None before it was computed, and where it was left out.
    contributivity: float | None
    submitted_at: datetime
    train_time: float | None  #: seconds, added up over the folds
    valid_time: float | None  #: seconds, added up over the folds
    test_time: float | None  #: seconds, added up over the folds

    def to_json(self) -> dict[str, Any]:
        """Give the row for JSON: full precision, ISO times; no private keys where public."""
        record = asdict(self) | {"submitted_at": self.submitted_at.isoformat()}
        if self.private_scores is None:
            del record["private_scores"]
        return record


def leaderboard(
    session: Session,
    event_id: int,
    *,
    private: bool = False,
    best_per_team: bool = False,
    limit: int | None = None,
    offset: int = 0,
) -> list[LeaderboardRow]:
    """Rank the scored submissions of an event.

    By the official score type, the better first; of equals the earlier submission first. A score
    that is no finite number ranks last.

    Parameters
    ----------
    session : Session
    event_id : int
    private : bool, default=False
        Rank by test scores and give them too; by validation scores otherwise.
    best_per_team : bool, default=False
        Only the best submission of each team; ranks are among those.
    limit : int, optional
        The most rows; all by default.
    offset : int, default=0
        Rows to leave out.

    Returns
    -------
    list of LeaderboardRow

    Notes
    -----
    Two statements, and up to two more where `offset` is given, each along an index: the first pages
    and the last cost the same with a hundred submissions and with a million. What stands between a
    page and the nearer end is walked over in the index, under a microsecond a row.
    """
    order = Submission.private_order if private else Submission.public_order
    if best_per_team:
        places = _best_places(event_id, order)
        cut = places.limit(limit).offset(offset or None)
    else:
        places = _places(event_id, order)
        cut = _cut(places, order, count_scored(session, event_id) if offset else 0, limit, offset)
    page = cut.subquery("page")
    rows = session.execute(_described(page)).all()
    scores, private_scores = _scores(session, page, [row.id for row in rows])
    ranks = _ranks(session, places, rows, offset)
    return [
        LeaderboardRow(
            rank=rank,
            team=row.team,
            submission=row.submission,
            submission_id=row.id,
            score=row.private_score if private else row.public_score,
            scores=scores.get(row.id, {}),
            private_scores=private_scores.get(row.id, {}) if private else None,
            contributivity=row.percent,
            submitted_at=row.submitted_at,
            train_time=row.train_seconds,
            valid_time=row.valid_seconds,
            test_time=row.test_seconds,
        )
        for rank, row in zip(ranks, rows, strict=True)
    ]


_Order: TypeAlias = InstrumentedAttribute[float | None]
_Places: TypeAlias = "Select[int, float | None, datetime]"


def _places(event_id: int, order: _Order) -> _Places:
    """Select number and place of the scored submissions, in order."""
    return (
        select(Submission.id, order.label("place"), Submission.submitted_at)
        .where(Submission.event_id == event_id, order.is_not(None))
        .order_by(order, Submission.submitted_at, Submission.id)
    )


def _cut(places: _Places, order: _Order, n_all: int, limit: int | None, offset: int) -> _Places:
    """Cut a page out of all places, of which there are `n_all`, counted from the nearer end."""
    end = n_all if limit is None else min(offset + limit, n_all)
    n_after = n_all - end
    if offset <= n_after or offset >= end:
        return places.limit(limit).offset(offset or None)
    backwards = (order.desc(), Submission.submitted_at.desc(), Submission.id.desc())
    return places.order_by(None).order_by(*backwards).limit(end - offset).offset(n_after or None)


def _best_places(event_id: int, order: _Order) -> _Places:
    """Select the same of the best of each team: one look into an index for each."""
    other = aliased(Submission)
    other_order = getattr(other, order.key)
    best = (
        select(other.id)
        .where(other.event_id == event_id, other.team_id == EventTeam.team_id)
        .where(other_order.is_not(None))
        .order_by(other_order, other.submitted_at, other.id)
        .limit(1)
        .correlate(EventTeam)
        .scalar_subquery()
    )
    return (
        select(Submission.id, order.label("place"), Submission.submitted_at)
        .select_from(EventTeam)
        .join(Submission, Submission.id == best)
        .where(EventTeam.event_id == event_id)
        .order_by(order, Submission.submitted_at, Submission.id)
    )


def _described(page: Subquery) -> Select[Any]:
    return (
        select(
            Submission.id,
            page.c.place,
            Team.name.label("team"),
            Submission.name.label("submission"),
            Submission.submitted_at,
            Submission.public_score,
            Submission.private_score,
            Submission.train_seconds,
            Submission.valid_seconds,
            Submission.test_seconds,
            Contributivity.percent,
        )
        .join(page, page.c.id == Submission.id)
        .join(Team, Team.id == Submission.team_id)
        .outerjoin(
            Contributivity,
            (Contributivity.submission_id == Submission.id)
            & (Contributivity.attempt == Submission.attempt),
        )
        .order_by(page.c.place, page.c.submitted_at, page.c.id)
    )


#: More numbers are not sent back to the database, which takes only so many parameters.
_MANY = 1000

_Scores = dict[int, dict[str, ScoreSummary]]


def _scores(session: Session, page: Subquery, ids: Sequence[int]) -> tuple[_Scores, _Scores]:
    """Read the validation and the test scores of a page, by its numbers unless they are many."""
    query = (
        select(BaggedScore, ScoreType.name)
        .where(BaggedScore.submission_id.in_(ids if len(ids) <= _MANY else select(page.c.id)))
        .join(ScoreType, ScoreType.id == BaggedScore.score_type_id)
        .order_by(BaggedScore.submission_id, ScoreType.position)
    )
    valid: _Scores = {}
    test: _Scores = {}
    for row, name in session.execute(query):
        valid.setdefault(row.submission_id, {})[name] = ScoreSummary(
            row.valid_bag, row.valid_mean, row.valid_std
        )
        test.setdefault(row.submission_id, {})[name] = ScoreSummary(
            row.test_bag, row.test_mean, row.test_std
        )
    return valid, test


def _ranks(
    session: Session, places: _Places, page: Sequence[Row[Any]], offset: int
) -> Iterator[int]:
    """Give the ranks of a page: one more than the number of better ones.

    Of what stands before the page only those that are as good as its first are counted.
    """
    if not page:
        return
    first, rank = page[0], 1
    if offset:
        before = places.order_by(None).subquery()
        is_earlier = tuple_(before.c.submitted_at, before.c.id) < (first.submitted_at, first.id)
        query = select(func.count()).select_from(before).where(before.c.place == first.place)
        rank = offset + 1 - session.execute(query.where(is_earlier)).scalar_one()
    last = first.place
    for position, row in enumerate(page, start=offset + 1):
        rank = rank if row.place == last else position
        last = row.place
        yield rank
