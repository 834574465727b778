"""Many at once: each submission is claimed, taken, and counted exactly once."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import insert

from ramp_database import clock, dispatchers, people, queue
from ramp_database.errors import AlreadyExistsError, ClaimLostError, TransitionError
from ramp_database.model import Submission
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from tests.database.conftest import Toy

N_THREADS = 4
N_SUBMISSIONS = 200


def at_once(toy: Toy, work: Callable[[Database, int], Any]) -> list[Any]:
    """Do some work in several threads that start together, each with connections of its own."""
    barrier = threading.Barrier(N_THREADS)
    url = toy.database.engine.url

    def one(number: int) -> Any:
        database = Database(url)
        with database.session(read_only=True):
            pass
        barrier.wait()
        try:
            return work(database, number)
        finally:
            database.dispose()

    with ThreadPoolExecutor(N_THREADS) as pool:
        return list(pool.map(one, range(N_THREADS)))


def submit_many(toy: Toy) -> list[int]:
    first = toy.row(toy.submit())
    with toy.session() as session:
        now = clock.read(session)
        columns = {"event_id": first.event_id, "team_id": first.team_id, "submitted_at": now}
        columns |= {"content_hash": "", "state": State.NEW}
        rows = [columns | {"name": f"{number}"} for number in range(N_SUBMISSIONS - 1)]
        ids = session.scalars(insert(Submission).returning(Submission.id), rows)
        return [first.id, *ids]


def test_many_claimants_claim_each_submission_once(toy: Toy) -> None:
    ids = submit_many(toy)
    owners = [toy.dispatcher() for _ in range(N_THREADS)]

    def work(database: Database, number: int) -> list[Claim]:
        taken: list[Claim] = []
        while True:
            with database.session() as session:
                claims = queue.claim(session, toy.event_id, owners[number], 3)
            if not claims:
                return taken
            assert len(claims) <= 3
            taken += claims

    claims = [claim for taken in at_once(toy, work) for claim in taken]
    # on PostgreSQL somebody may see nothing to claim while others have the last rows locked
    claims += toy.claim(owners[0], N_SUBMISSIONS)
    assert sorted(claim.submission_id for claim in claims) == sorted(ids)
    assert {claim.attempt for claim in claims} == {1}
    with toy.session() as session:
        assert set(queue.owned_of_event(session, toy.event_id)) == set(claims)


def test_of_several_who_end_an_attempt_one_succeeds(toy: Toy) -> None:
    claim = toy.bring_to(State.TRAINING)

    def work(database: Database, number: int) -> bool:
        try:
            with database.session() as session:
                if number % 2:
                    queue.crash(session, claim, "broken", 3)
                else:
                    queue.finish(session, claim)
        except (ClaimLostError, TransitionError):
            return False
        return True

    outcomes = at_once(toy, work)
    # finish and then crash is a way that there is, twice the same is not
    assert outcomes[0] + outcomes[2] <= 1
    assert outcomes[1] + outcomes[3] <= 1
    assert any(outcomes)
    assert toy.row(claim.submission_id).n_crashes == outcomes[1] + outcomes[3]


def test_of_several_rescuers_each_submission_is_taken_by_one(toy: Toy) -> None:
    submit_many(toy)
    dead = toy.dispatcher()
    claims = toy.claim(dead, N_SUBMISSIONS)
    for claim in claims[:20]:
        toy.do(queue.start, claim)
        toy.do(queue.finish, claim)
    toy.do(dispatchers.deregister, dead)
    rescuers = [toy.dispatcher() for _ in range(N_THREADS)]

    def work(database: Database, number: int) -> queue.Rescued:
        with database.session() as session:
            return queue.rescue(session, toy.event_id, rescuers[number], 60, 3)

    found = at_once(toy, work)
    requeued = Counter(id_ for rescued in found for id_ in rescued.requeued)
    to_score = Counter(claim.submission_id for rescued in found for claim in rescued.to_score)
    assert set(requeued) == {claim.submission_id for claim in claims[20:]}
    assert set(to_score) == {claim.submission_id for claim in claims[:20]}
    assert set(requeued.values()) == set(to_score.values()) == {1}


def test_a_cancel_and_a_claim_at_once_leave_a_canceled_submission_or_a_wish(toy: Toy) -> None:
    for _ in range(5):
        submission_id, owner = toy.submit(), toy.dispatcher()

        def work(
            database: Database, number: int, submission_id: int = submission_id, owner: int = owner
        ) -> Any:
            with database.session() as session:
                if number == 0:
                    return queue.cancel(session, submission_id, "no more")
                return queue.claim(session, toy.event_id, owner, 1)

        canceled, *claimed = at_once(toy, work)
        claims = [claim for claims in claimed for claim in claims]
        if canceled is State.CANCELED:
            assert claims == []
        else:
            assert toy.do(queue.is_cancel_requested, *claims)


def test_a_team_may_be_made_by_many_at_once(toy: Toy) -> None:
    def work(database: Database, number: int) -> bool:
        with database.session() as session:
            people.ensure_signed_up(session, TOY, "green")
        try:
            with database.session() as session:
                add_toy_submission(session, team_name="green", name="same")
        except AlreadyExistsError:
            return False
        return True

    assert sum(at_once(toy, work)) == 1


def test_readers_do_not_wait_for_a_writer(toy: Toy) -> None:
    submission_id = toy.submit()
    with toy.session() as writer:
        queue.cancel(writer, submission_id, "no more")
        with toy.database.session(read_only=True) as reader:
            assert queue.count_open(reader, toy.event_id) == 1
