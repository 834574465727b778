"""The order of the queue: the teams take turns, and nobody is starved."""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from ramp_database import clock, people, queue
from ramp_database.model import ComputeHour, Event
from ramp_database.queue import Claim
from ramp_database.queue.turns import by_turn, turns
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission, toy_results
from tests.database.conftest import Toy


def team_of(toy: Toy, claim: Claim) -> str:
    return toy.row(claim.submission_id).team.name


def claim_one(toy: Toy, owner: int) -> tuple[Claim, str]:
    (claim,) = toy.claim(owner, 1)
    return claim, team_of(toy, claim)


def end(toy: Toy, claim: Claim) -> None:
    toy.do(queue.start, claim)
    toy.do(queue.finish, claim)
    toy.do(queue.score, claim, toy_results(0.5))


def use(toy: Toy, team: str, seconds: float, hours_ago: int = 0) -> None:
    """Let a team have computed for some seconds."""
    with toy.session() as session:
        people.ensure_signed_up(session, TOY, team)
        hour = session.execute(select(clock.hour())).scalar_one() - hours_ago
        row = ComputeHour(
            event_id=toy.event_id,
            team_id=people.get_team(session, team).id,
            hour=hour,
            dispatcher_id=0,
            seconds=seconds,
        )
        session.merge(row)


@pytest.mark.parametrize("used", [0.0, 1e6])
def test_a_team_of_200_delays_anothers_first_by_one_turn_at_most(toy: Toy, used: float) -> None:
    with toy.session() as session:
        for _ in range(200):
            add_toy_submission(session, team_name="many")
    owner = toy.dispatcher()
    running, _ = claim_one(toy, owner)
    use(toy, "one", used)
    toy.submit("one")
    end(toy, running)
    teams = []
    for _ in range(3):
        claim, team = claim_one(toy, owner)
        teams.append(team)
        end(toy, claim)
    assert "one" in teams[:2]
    assert teams.count("one") == 1


def test_several_claimed_at_once_are_of_different_teams(toy: Toy) -> None:
    for team in ("red", "red", "red", "blue", "green"):
        toy.submit(team)
    claims = toy.claim(toy.dispatcher(), 4)
    assert sorted(team_of(toy, claim) for claim in claims) == ["blue", "green", "red", "red"]


def test_what_a_team_has_running_counts(toy: Toy) -> None:
    owner = toy.dispatcher()
    for team in ("red", "red", "red"):
        toy.submit(team)
    toy.claim(owner, 2)
    use(toy, "blue", 1e6)
    toy.submit("blue")
    assert claim_one(toy, owner)[1] == "blue"


def test_within_a_turn_who_used_less_comes_first(toy: Toy) -> None:
    for team, seconds in (("red", 100.0), ("blue", 10.0), ("green", 50.0)):
        use(toy, team, seconds)
        toy.submit(team)
    owner = toy.dispatcher()
    assert [claim_one(toy, owner)[1] for _ in range(3)] == ["blue", "green", "red"]


def test_what_was_used_before_the_window_is_forgotten(toy: Toy) -> None:
    use(toy, "red", 100.0, hours_ago=24)
    use(toy, "blue", 1.0, hours_ago=3)
    toy.submit("blue")
    toy.submit("red")
    assert claim_one(toy, toy.dispatcher())[1] == "red"


def test_an_event_may_have_a_window_of_its_own(toy: Toy) -> None:
    with toy.session() as session:
        event = session.get(Event, toy.event_id)
        assert event is not None
        event.fair_share_window_hours = 2
    use(toy, "blue", 100.0, hours_ago=3)
    use(toy, "red", 1.0)
    toy.submit("red")
    toy.submit("blue")
    assert claim_one(toy, toy.dispatcher())[1] == "blue"


def test_the_seconds_of_an_attempt_are_its_teams_unless_we_failed(toy: Toy) -> None:
    owner = toy.dispatcher()
    for ending in ("score", "crash"):
        toy.submit("red")
        (claim,) = toy.claim(owner)
        toy.do(queue.start, claim)
        with clock.shifted(100):
            if ending == "score":
                toy.do(queue.finish, claim)
                toy.do(queue.score, claim, toy_results(0.5))
            else:
                toy.do(queue.crash, claim, "broken", 1)
    with toy.session() as session:
        (row,) = session.query(ComputeHour).all()
        assert (row.dispatcher_id, row.event_id) == (owner, toy.event_id)
        assert row.seconds == pytest.approx(100, abs=60)


def test_one_that_is_delayed_does_not_hold_up_its_team(toy: Toy) -> None:
    owner = toy.dispatcher()
    first, second = toy.submit("red"), toy.submit("red")
    (claim,) = toy.claim(owner)
    assert claim.submission_id == first
    toy.do(queue.crash, claim, "broken", 3)
    (claim,) = toy.claim(owner, 5)
    assert claim.submission_id == second


def test_those_claimed_of_many_teams_are_the_first_of_the_whole_order(toy: Toy) -> None:
    """A claim reads no more than can be among the first: here fewer than all there are."""
    owner, chance = toy.dispatcher(), random.Random(7)
    with toy.session() as session:
        for number in range(80):
            team = chance.randrange(24) if number % 2 else number % 5
            add_toy_submission(session, team_name=f"team {team}")
    for limit in (6, 1, 3, 12, 2, 50, 5):
        ordered = turns(toy.event_id)
        with toy.session() as session:
            order = list(session.scalars(select(ordered.c.id).order_by(*by_turn(ordered))))
        claims = toy.claim(owner, limit)
        assert {claim.submission_id for claim in claims} == set(order[:limit])
        for claim in claims[::2]:
            end(toy, claim)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 3)),
        st.tuples(st.just("submit"), st.just(0)),
        st.tuples(st.just("claim"), st.integers(1, 3)),
        st.tuples(st.just("end"), st.integers(1, 1000)),
    ),
    min_size=10,
    max_size=40,
)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_no_team_that_waits_with_nothing_running_is_overtaken_twice_by_another(
    kind: str, request: pytest.FixtureRequest
) -> None:
    make = _maker(kind, request)

    @settings(
        phases=[Phase.generate],
        max_examples=8,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=STEPS)
    def check(steps: list[tuple[str, int]]) -> None:
        toy = make()
        try:
            _replay(toy, steps)
        finally:
            toy.database.dispose()

    check()


def _replay(toy: Toy, steps: list[tuple[str, int]]) -> None:
    """Take the steps; count for each waiting team how often it was overtaken, and by whom."""
    owner = toy.dispatcher()
    waiting = dict.fromkeys(range(4), 0)
    running: list[tuple[Claim, int]] = []
    overtaken: dict[tuple[int, int], int] = {}
    for step, n in steps:
        if step == "submit":
            toy.submit(f"team {n}")
            waiting[n] += 1
        elif step == "claim":
            idle = {team for team in waiting if team not in {team for _, team in running}}
            claims = toy.claim(owner, n)
            assert len(claims) == min(n, sum(waiting.values()))
            teams = [int(team_of(toy, claim).split()[1]) for claim in claims]
            for team in teams:
                waiting[team] -= 1
            running += zip(claims, teams, strict=True)
            for late in range(4):
                if late in teams or not waiting[late] or late not in idle:
                    overtaken = {key: n for key, n in overtaken.items() if key[0] != late}
                    continue
                for team in teams:
                    overtaken[late, team] = overtaken.get((late, team), 0) + 1
            assert all(times <= 2 for times in overtaken.values()), overtaken
        elif running:
            claim, team = running.pop(0)
            use(toy, f"team {team}", n) if n % 2 else None
            with toy.session() as session:
                queue.start(session, claim)
                queue.fail(session, claim, State.TRAINING_ERROR, "wrong", "failed")


def _maker(kind: str, request: pytest.FixtureRequest) -> Callable[[], Toy]:
    if kind == "postgresql":
        make_url = request.getfixturevalue("make_postgresql_url")
        return lambda: Toy(Database(make_url()))
    template: Path = request.getfixturevalue("sqlite_template")
    directory = Path(tempfile.mkdtemp(prefix="ramp-turns-"))
    request.addfinalizer(lambda: shutil.rmtree(directory))
    numbers = itertools.count()
    return lambda: Toy(
        Database(f"sqlite:///{shutil.copy(template, directory / f'{next(numbers)}.db')}")
    )
