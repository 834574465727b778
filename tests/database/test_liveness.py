"""Who answers for what was started for an attempt."""

from __future__ import annotations

import pytest

from ramp_database import clock, dispatchers, events, liveness, queue
from ramp_database.liveness import Answerable
from ramp_database.queue import Claim
from ramp_database.states import State
from tests.database.conftest import STALE_SECONDS, Toy


def ask(
    toy: Toy, claim: Claim, *, maker: int | None = None, attempt: int | None = None
) -> Answerable:
    with toy.session() as session:
        return liveness.answerable(
            session,
            maker or claim.dispatcher_id,
            claim.submission_id,
            attempt or claim.attempt,
        )


def training(toy: Toy, handle: str | None) -> Claim:
    claim = toy.bring_to(State.SENT_TO_TRAINING)
    with toy.session() as session:
        queue.start(session, claim, handle=handle)
    return claim


def test_an_attempt_that_can_be_adopted_has_an_owner_until_it_is_over(toy: Toy) -> None:
    claim = training(toy, "i-1")
    owner = ask(toy, claim, maker=999)
    assert owner.maker is None
    assert owner.owner is not None
    assert owner.owner.id == claim.dispatcher_id
    assert ask(toy, claim, attempt=claim.attempt + 1).owner is None
    toy.do(queue.finish, claim)
    over = ask(toy, claim)
    assert over.owner is None
    assert over.maker is not None
    assert over.maker.is_live


@pytest.mark.parametrize("state", [State.NEW, State.SENT_TO_TRAINING, State.SCORED])
def test_an_attempt_that_nobody_can_find_again_has_no_owner(toy: Toy, state: State) -> None:
    assert ask(toy, toy.bring_to(state)).owner is None
    assert ask(toy, training(toy, None)).owner is None


def test_the_owner_of_an_adopted_run_is_the_dispatcher_that_adopted_it(toy: Toy) -> None:
    claim, rescuer = training(toy, "i-1"), toy.dispatcher()
    toy.do(dispatchers.deregister, claim.dispatcher_id)
    with toy.session() as session:
        found = queue.rescue(session, toy.event_id, rescuer, STALE_SECONDS, 3, is_adopting=True)
    assert [run.claim.submission_id for run in found.adopted] == [claim.submission_id]
    told = ask(toy, claim)
    assert told.maker is not None
    assert not told.maker.is_live
    assert told.owner is not None
    assert told.owner.id == rescuer
    with clock.shifted(30):
        later = ask(toy, claim)
        assert later.owner is not None
        assert later.owner.silent_seconds >= 30


def test_an_event_that_is_deployed_anew_under_its_name_has_another_identity(toy: Toy) -> None:
    def identity() -> str:
        with toy.session() as session:
            return events.identity(events.list_events(session)[0])

    first = identity()
    assert first == identity()
    with toy.session() as session:
        name = events.list_events(session)[0].name
        events.delete_event(session, name)
    again = Toy(toy.database)
    assert again.event_id != toy.event_id
    assert identity() != first
