"""What is recorded of blends, for how long it holds, and what it leaves alone."""

from __future__ import annotations

import pytest
from sqlalchemy import func, select

from ramp_database import blends, events, queue
from ramp_database.blends import BagScores, Blend
from ramp_database.errors import DatabaseError
from ramp_database.leaderboard import leaderboard
from ramp_database.model import Contributivity, EventBlend
from ramp_database.provenance import Provenance
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_event, toy_results
from tests.database.conftest import Toy

KNOWN = Provenance("bundle", "kit", "data", "folds", "environment", "files", "1.0")


def blend_of(percents: dict[tuple[int, int], float], bundle: str = "bundle") -> Blend:
    return Blend(bundle, "hash", percents, BagScores(0.75, None), BagScores(0.5, 0.25))


def store(toy: Toy, blend: Blend) -> list[int]:
    with toy.session() as session:
        return blends.store(session, toy.event_id, blend)


def shown(toy: Toy) -> dict[int, float | None]:
    with toy.database.session(read_only=True) as session:
        rows = leaderboard(session, toy.event_id, private=True)
    return {row.submission_id: row.contributivity for row in rows}


def scored(toy: Toy, n: int) -> list[int]:
    return [toy.bring_to(State.SCORED).submission_id for _ in range(n)]


def test_the_newest_blend_is_on_the_leaderboard(toy: Toy) -> None:
    a, b, c = scored(toy, 3)
    assert shown(toy) == {a: None, b: None, c: None}
    assert store(toy, blend_of({(a, 1): 1 / 3, (b, 1): 0.0})) == []
    assert shown(toy) == {a: 1 / 3, b: 0.0, c: None}
    assert store(toy, blend_of({(b, 1): 40.0, (c, 1): 60.0})) == []
    assert shown(toy) == {a: None, b: 40.0, c: 60.0}
    with toy.session() as session:
        row = blends.read(session, toy.event_id)
        assert row is not None
        assert (row.n_submissions, row.score_type, row.inputs_hash) == (2, "accuracy", "hash")
        assert (row.combined_valid, row.combined_test) == (0.75, None)
        assert (row.foldwise_best_valid, row.foldwise_best_test) == (0.5, 0.25)


def test_a_share_does_not_hold_for_another_attempt(toy: Toy) -> None:
    a, b = scored(toy, 2)
    store(toy, blend_of({(a, 1): 30.0, (b, 1): 70.0}))
    toy.do(queue.set_state, a, State.NEW, "again")
    assert shown(toy) == {b: 70.0}
    toy.score(a, 0.5)
    assert shown(toy) == {a: None, b: 70.0}


def test_who_moved_on_meanwhile_is_told_and_the_others_are_recorded(toy: Toy) -> None:
    a, b, c = scored(toy, 3)
    toy.do(queue.set_state, a, State.NEW, "again")
    toy.score(a, 0.5)
    toy.do(queue.set_state, b, State.NEW, "again")
    assert store(toy, blend_of({(a, 1): 20.0, (b, 1): 30.0, (c, 1): 50.0})) == [a, b]
    assert shown(toy) == {a: None, c: 50.0}
    with toy.session() as session:
        assert list(session.scalars(select(Contributivity.submission_id))) == [c]


def test_a_blend_of_another_deployment_is_not_recorded(toy: Toy) -> None:
    (a,) = scored(toy, 1)
    with pytest.raises(DatabaseError, match="deployed anew"):
        store(toy, blend_of({(a, 1): 100.0}, bundle="other"))
    assert shown(toy) == {a: None}


def test_a_blend_leaves_other_events_alone_and_goes_with_its_own(toy: Toy) -> None:
    (a,) = scored(toy, 1)
    store(toy, blend_of({(a, 1): 100.0}))
    with toy.session() as session:
        other = add_toy_event(session, "other").id
        blends.store(session, other, blend_of({}))
    assert shown(toy) == {a: 100.0}
    with toy.session() as session:
        events.delete_event(session, TOY)
    with toy.session() as session:
        counts = [
            session.scalar(select(func.count()).select_from(table))
            for table in (Contributivity, EventBlend)
        ]
    assert counts == [0, 1]


def test_the_scored_are_listed_with_what_decides_whether_they_are_blended(toy: Toy) -> None:
    for state in State:
        toy.bring_to(state)
    claim = toy.bring_to(State.TESTED)
    toy.do(queue.score, claim, toy_results(None), KNOWN)
    with toy.session() as session:
        found = blends.scored(session, toy.event_id)
    assert [one.submission_id for one in found] == sorted(one.submission_id for one in found)
    assert [(one.attempt, one.has_all_scores) for one in found] == [(1, True), (1, False)]
    assert [one.provenance for one in found] == [None, KNOWN]


def test_storing_takes_as_many_statements_for_many_as_for_few(
    toy: Toy, statements: list[str]
) -> None:
    ids = scored(toy, 12)
    counts = []
    for n in (2, 12):
        statements.clear()
        store(toy, blend_of({(number, 1): 1.0 for number in ids[:n]}))
        counts.append(len(statements))
        assert not [one for one in statements if one.startswith("UPDATE submissions")]
    assert counts[0] >= counts[1]
