"""Ranks, ties, direction, missing scores, pages, and the best of each team."""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import pytest
from sqlalchemy import event as events_of_engine

from ramp_database import events, queue
from ramp_database.events import ScoreTypeSpec
from ramp_database.leaderboard import LeaderboardRow, leaderboard
from ramp_database.results import BaggedScores, FoldResult, Results, StepScores, StepTimes
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import ACCURACY, TOY, add_toy_event, toy_results, toy_spec
from tests.database.conftest import Toy

ERROR = ScoreTypeSpec("error", 2, is_lower_the_better=True)


def board(toy: Toy, **options: object) -> list[LeaderboardRow]:
    with toy.database.session(read_only=True) as session:
        return leaderboard(session, toy.event_id, **options)  # type: ignore[arg-type]


def fill(toy: Toy, *scores: tuple[str, float | None]) -> list[int]:
    """Submit and score for teams, in the order given."""
    ids = []
    for team, score in scores:
        ids.append(toy.submit(team))
        toy.score(ids[-1], score, None if score is None else 1 - score)
    return ids


def test_an_event_without_scores_has_an_empty_leaderboard(toy: Toy) -> None:
    toy.submit()
    assert board(toy) == []
    assert board(toy, best_per_team=True, private=True, limit=3, offset=3) == []


def test_the_better_comes_first_and_ties_share_a_rank(toy: Toy) -> None:
    a, b, c, d, e = fill(
        toy, ("red", 0.5), ("blue", 0.75), ("red", 0.75), ("green", 0.9), ("blue", 0.25)
    )
    rows = board(toy)
    assert [row.submission_id for row in rows] == [d, b, c, a, e]
    assert [row.rank for row in rows] == [1, 2, 2, 4, 5]
    assert [row.score for row in rows] == [0.9, 0.75, 0.75, 0.5, 0.25]
    assert [row.team for row in rows] == ["green", "blue", "red", "red", "blue"]


def test_a_private_leaderboard_ranks_by_test_scores_and_shows_both(toy: Toy) -> None:
    a, b = fill(toy, ("red", 0.25), ("blue", 0.75))
    public, private = board(toy), board(toy, private=True)
    assert [row.submission_id for row in public] == [b, a]
    assert [row.submission_id for row in private] == [a, b]
    assert private[0].score == 0.75
    assert private[0].private_scores is not None
    assert private[0].private_scores["accuracy"].bag == 0.75
    assert private[0].scores["accuracy"].bag == 0.25
    assert "private_scores" not in public[0].to_json()


def test_where_lower_is_better_the_lowest_comes_first(database: Database) -> None:
    toy = Toy(database)
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(score_types=(ERROR,)))
    ids = [toy.submit() for _ in range(3)]
    for submission_id, claim in zip(ids, toy.claim(limit=3), strict=True):
        toy.do(queue.start, claim)
        toy.do(queue.finish, claim)
        value = [2.0, None, 1.0][ids.index(submission_id)]
        toy.do(queue.score, claim, toy_results(value, names=("error",)))
    assert [row.score for row in board(toy)] == [1.0, 2.0, None]


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_a_score_that_is_no_finite_number_is_stored_as_null_and_ranks_last(
    toy: Toy, value: float | None
) -> None:
    ids = fill(toy, ("red", value), ("blue", -1e300), ("red", value), ("blue", 0.5))
    rows = board(toy)
    assert [row.submission_id for row in rows] == [ids[3], ids[1], ids[0], ids[2]]
    assert [row.rank for row in rows] == [1, 2, 3, 3]
    assert [row.score for row in rows] == [0.5, -1e300, None, None]
    assert rows[-1].scores["accuracy"].bag is None
    assert rows[-1].scores["accuracy"].std is None
    assert json.dumps([row.to_json() for row in rows], allow_nan=False)


@pytest.mark.parametrize("best_per_team", [False, True])
def test_pages_are_cut_from_the_whole(toy: Toy, best_per_team: bool) -> None:
    scores = [0.9, 0.5, 0.5, 0.5, 0.2, 0.2, 0.1]
    fill(toy, *((f"team {n}", score) for n, score in enumerate(scores)))
    whole = board(toy, best_per_team=best_per_team)
    assert [row.rank for row in whole] == [1, 2, 2, 2, 5, 5, 7]
    for offset in range(len(scores) + 1):
        for limit in (1, 2, 10, None):
            end = None if limit is None else offset + limit
            page = board(toy, limit=limit, offset=offset, best_per_team=best_per_team)
            assert page == whole[offset:end]


def test_the_best_of_each_team_is_the_earlier_of_equals(toy: Toy) -> None:
    ids = fill(toy, ("red", 0.5), ("blue", 0.75), ("red", 0.75), ("red", 0.75), ("blue", 0.25))
    toy.submit("green")
    rows = board(toy, best_per_team=True)
    assert [(row.team, row.submission_id, row.rank) for row in rows] == [
        ("blue", ids[1], 1),
        ("red", ids[2], 1),
    ]
    private = board(toy, best_per_team=True, private=True)
    assert [row.submission_id for row in private] == [ids[4], ids[0]]


def test_only_scored_submissions_of_the_event_are_listed(toy: Toy) -> None:
    for state in State:
        toy.bring_to(state)
    with toy.session() as session:
        other = add_toy_event(session, "other").id
    (row,) = board(toy)
    assert row.rank == 1
    with toy.session() as session:
        assert leaderboard(session, other) == []


def test_a_row_tells_bag_mean_and_sample_deviation_in_full_precision(database: Database) -> None:
    toy = Toy(database)
    kinds = (ACCURACY, ERROR)
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(n_folds=3, score_types=kinds))
    valid, test = [0.1, 0.2, 0.4], [1 / 3, 2 / 3, 1e-17]
    folds = tuple(
        FoldResult(
            number,
            {kind.name: StepScores(1.0, valid[number], test[number]) for kind in kinds},
            StepTimes(1.5, 0.25, 0.125),
        )
        for number in range(3)
    )
    bagged = {kind.name: BaggedScores(1 / 7, 1 / 9) for kind in kinds}
    claim = toy.bring_to(State.TESTED)
    toy.do(queue.score, claim, Results(folds, bagged))
    (row,) = (row.to_json() for row in board(toy, private=True))
    assert row["score"] == 1 / 9
    assert list(row["scores"]) == ["accuracy", "error"]
    assert row["scores"]["error"] == {
        "bag": 1 / 7,
        "mean": pytest.approx(0.7 / 3, rel=1e-15),
        "std": pytest.approx(statistics.stdev(valid), rel=1e-15),
    }
    assert row["private_scores"]["accuracy"]["mean"] == pytest.approx(1 / 3, rel=1e-15)
    assert (row["train_time"], row["valid_time"], row["test_time"]) == (4.5, 0.75, 0.375)
    assert row["submitted_at"].endswith("+00:00")
    assert list(row)[:6] == ["rank", "team", "submission", "submission_id", "score", "scores"]


def test_one_fold_has_no_deviation(database: Database) -> None:
    toy = Toy(database)
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(n_folds=1))
    toy.do(queue.score, toy.bring_to(State.TESTED), toy_results(0.5, n_folds=1))
    assert board(toy)[0].scores["accuracy"].std == 0.0


def test_another_official_score_type_orders_the_leaderboard_anew(database: Database) -> None:
    toy = Toy(database)
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(score_types=(ACCURACY, ERROR)))
    ids = []
    for accuracy, error in ((0.9, 3.0), (0.8, 1.0), (0.7, math.nan)):
        claim = toy.bring_to(State.TESTED)
        scores = {"accuracy": StepScores(1, accuracy, accuracy), "error": StepScores(1, error)}
        bagged = {"accuracy": BaggedScores(accuracy), "error": BaggedScores(error)}
        toy.do(queue.score, claim, Results((FoldResult(0, scores),), bagged))
        ids.append(claim.submission_id)
    assert [row.submission_id for row in board(toy)] == ids
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(score_types=(ERROR, ACCURACY)))
    rows = board(toy)
    assert [row.submission_id for row in rows] == [ids[1], ids[0], ids[2]]
    assert [row.score for row in rows] == [1.0, 3.0, None]
    assert list(rows[0].scores) == ["error", "accuracy"]
    with toy.session() as session:
        events.update_event(session, TOY, toy_spec(score_types=(ACCURACY,)))
    assert list(board(toy)[0].scores) == ["accuracy"]
    assert [row.submission_id for row in board(toy)] == ids


def plan_of(toy: Toy, statement: str, parameters: Any) -> str:
    """Give the plan of a statement where to read a whole table, or to sort, is the last resort.

    Of so few rows the planner may prefer either, by what it knows of them at the time.
    """
    is_sqlite = toy.database.engine.dialect.name == "sqlite"
    with toy.session() as session:
        connection = session.connection()
        if not is_sqlite:
            for way in ("seqscan", "bitmapscan", "sort"):
                connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
        explain = "EXPLAIN QUERY PLAN" if is_sqlite else "EXPLAIN (VERBOSE)"
        rows = connection.exec_driver_sql(f"{explain} {statement}", parameters)
        return "\n".join(str(row[-1]) for row in rows)


@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("kind", ["public", "private"])
@pytest.mark.parametrize("best_per_team", [False, True])
def test_each_leaderboard_is_read_along_its_index(
    toy: Toy, kind: str, best_per_team: bool, offset: int
) -> None:
    fill(toy, ("red", 0.5), ("blue", 0.75), ("green", 0.25), ("red", 0.4))
    sent: list[tuple[str, Any]] = []

    def listen(_c: Any, _cursor: Any, statement: str, parameters: Any, *_rest: Any) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    engine = toy.database.engine
    events_of_engine.listen(engine, "before_cursor_execute", listen)
    rows = board(
        toy, limit=20, offset=offset, private=kind == "private", best_per_team=best_per_team
    )
    events_of_engine.remove(engine, "before_cursor_execute", listen)
    assert rows
    n_counting = 0 if offset == 0 else 1 if best_per_team else 2
    assert len(sent) == 2 + n_counting
    index = f"ix_submissions_{'team_' if best_per_team else ''}{kind}"
    for statement, parameters in sent:
        plan = plan_of(toy, statement, parameters)
        is_page = "FROM submissions" in statement and "count(" not in statement
        assert index in plan or not is_page  # of few ties any index will do
        assert "Seq Scan on public.submissions" not in plan
        assert "Seq Scan on public.bagged_scores" not in plan
        assert "SCAN submissions" not in plan
        assert "SCAN bagged_scores" not in plan


def test_a_page_costs_two_statements(toy: Toy, statements: list[str]) -> None:
    fill(toy, ("red", 0.5), ("blue", 0.75))
    statements.clear()
    board(toy, limit=20)
    assert len(statements) == 2
