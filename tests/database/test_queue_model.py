"""Random operations of several owners, held against a small model of the queue."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import select

from ramp_database import clock, dispatchers, queue
from ramp_database.errors import ClaimLostError, TransitionError
from ramp_database.model import Attempt, Submission, SubmissionEvent
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import OWNED, State
from ramp_database.testing import toy_results
from tests.database.conftest import STALE_SECONDS, Toy

MAX_ATTEMPTS = 2
N_DISPATCHERS = 3
# few, so that much happens to each
MAX_SUBMISSIONS = 3


@dataclass
class Expected:
    """What the model knows of a submission."""

    state: State = State.NEW
    attempt: int = 0
    owner: int | None = None
    n_crashes: int = 0
    n_steps: int = 1
    is_to_be_canceled: bool = False

    def move(self, state: State) -> None:
        self.state = state
        self.n_steps += 1
        if state not in OWNED:
            self.owner, self.is_to_be_canceled = None, False

    def give_up(self) -> None:
        self.n_crashes += 1 if not self.is_to_be_canceled else 0
        if self.is_to_be_canceled:
            self.move(State.CANCELED)
        elif self.n_crashes >= MAX_ATTEMPTS:
            self.move(State.CHECKING_ERROR)
        else:
            self.move(State.NEW)


class QueueMachine(RuleBasedStateMachine):
    """Several dispatchers, participants and an organiser at one queue."""

    make_toy: Callable[[], Toy]

    @initialize()
    def set_up(self) -> None:
        self.toy = type(self).make_toy()
        self.expected: dict[int, Expected] = {}
        self.live = [self.toy.dispatcher() for _ in range(N_DISPATCHERS)]
        self.claims: list[Claim] = []

    def teardown(self) -> None:
        if hasattr(self, "toy"):
            self.toy.database.dispose()

    def attempt(self, claim: Claim, sources: frozenset[State], call: Callable[[], Any]) -> bool:
        """Do something with a claim; tell whether the model allows it, and check that it did."""
        one = self.expected[claim.submission_id]
        holds = self.holds(claim)
        if not holds or one.state not in sources:
            error = TransitionError if holds else ClaimLostError
            with pytest.raises(error):
                call()
            return False
        call()
        return True

    def pick(self, data: st.DataObject) -> Claim | None:
        """Draw a claim: most often one that holds, now and then one that is lost."""
        if not self.claims:
            return None
        held = [claim for claim in self.claims if self.holds(claim)]
        is_held = bool(held) and data.draw(st.integers(0, 4)) < 4
        return data.draw(st.sampled_from(held if is_held else self.claims))

    def holds(self, claim: Claim) -> bool:
        one = self.expected[claim.submission_id]
        return (one.owner, one.attempt) == (claim.dispatcher_id, claim.attempt)

    @rule()
    def submit(self) -> None:
        if len(self.expected) < MAX_SUBMISSIONS:
            self.expected[self.toy.submit()] = Expected()

    @rule(who=st.integers(0, N_DISPATCHERS - 1), limit=st.integers(1, 3))
    def claim(self, who: int, limit: int) -> None:
        with clock.shifted(10_000):  # past every delay
            claims = self.toy.claim(self.live[who], limit)
        waiting = [id_ for id_, one in self.expected.items() if one.state is State.NEW]
        assert [claim.submission_id for claim in claims] == sorted(waiting)[:limit]
        for claim in claims:
            one = self.expected[claim.submission_id]
            one.attempt += 1
            one.owner = self.live[who]
            assert claim == Claim(claim.submission_id, one.attempt, self.live[who])
            one.move(State.SENT_TO_TRAINING)
        self.claims += claims

    @rule(data=st.data())
    def go_on(self, data: st.DataObject) -> None:
        """Take the next step of the good way, or try to take it out of turn."""
        if (claim := self.pick(data)) is None:
            return
        steps = {
            State.SENT_TO_TRAINING: (queue.start, State.TRAINING),
            State.TRAINING: (queue.finish, State.TESTED),
            State.TESTED: (lambda s, c: queue.score(s, c, toy_results(0.5)), State.SCORED),
        }
        likely = [self.expected[claim.submission_id].state] * 3
        source = data.draw(st.sampled_from([s for s in (*likely, *steps) if s in steps]))
        operation, target = steps[source]
        if self.attempt(claim, frozenset({source}), lambda: self.toy.do(operation, claim)):
            self.expected[claim.submission_id].move(target)

    @rule(data=st.data(), state=st.sampled_from([State.TRAINING_ERROR, State.TESTING_ERROR]))
    def fail(self, data: st.DataObject, state: State) -> None:
        if (claim := self.pick(data)) is None:
            return
        call = lambda: self.toy.do(queue.fail, claim, state, "wrong", "failed")  # noqa: E731
        if self.attempt(claim, OWNED, call):
            self.expected[claim.submission_id].move(state)

    @rule(data=st.data())
    def crash(self, data: st.DataObject) -> None:
        if (claim := self.pick(data)) is None:
            return
        call = lambda: self.toy.do(queue.crash, claim, "broken", MAX_ATTEMPTS)  # noqa: E731
        if self.attempt(claim, OWNED, call):
            self.expected[claim.submission_id].give_up()

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        if (claim := self.pick(data)) is None:
            return
        one = self.expected[claim.submission_id]
        target = State.CANCELED if one.is_to_be_canceled else State.NEW
        if self.attempt(claim, OWNED, lambda: self.toy.do(queue.release, claim, "shutdown")):
            one.move(target)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if not self.expected:
            return
        id_ = data.draw(st.sampled_from(sorted(self.expected)))
        one = self.expected[id_]
        if one.state.is_final:
            with pytest.raises(TransitionError):
                self.toy.do(queue.cancel, id_, "no more")
        elif self.toy.do(queue.cancel, id_, "no more") is State.CANCELED:
            assert one.state is State.NEW
            one.move(State.CANCELED)
        elif not one.is_to_be_canceled:
            one.is_to_be_canceled = True
            one.n_steps += 1

    @rule(data=st.data())
    def reopen(self, data: st.DataObject) -> None:
        ended = sorted(id_ for id_, one in self.expected.items() if one.state.is_final)
        if ended:
            id_ = data.draw(st.sampled_from(ended))
            self.toy.do(queue.reopen, id_, "again")
            self.expected[id_].n_crashes = 0
            self.expected[id_].move(State.NEW)

    @rule(who=st.integers(0, N_DISPATCHERS - 1))
    def die_and_be_rescued(self, who: int) -> None:
        dead, self.live[who] = self.live[who], self.toy.dispatcher()
        rescuer = self.live[who]
        self.toy.do(dispatchers.deregister, dead)
        found = self.toy.do(queue.rescue, self.toy.event_id, rescuer, STALE_SECONDS, MAX_ATTEMPTS)
        for id_, one in self.expected.items():
            if one.owner != dead:
                continue
            is_kept = one.state is State.TESTED and not one.is_to_be_canceled
            if is_kept and one.n_crashes + 1 < MAX_ATTEMPTS:
                one.owner = rescuer
                one.n_crashes += 1
                one.n_steps += 1
                self.claims.append(Claim(id_, one.attempt, rescuer))
                assert self.claims[-1] in found.to_score
            else:
                one.give_up()
                assert id_ in found.requeued

    @invariant()
    def the_database_agrees(self) -> None:
        if not hasattr(self, "toy"):
            return
        with self.toy.session() as session:
            rows = {row.id: row for row in session.scalars(select(Submission))}
            steps = session.scalars(select(SubmissionEvent).order_by(SubmissionEvent.id)).all()
            attempts = Counter(session.scalars(select(Attempt.submission_id)))
        assert rows.keys() == self.expected.keys()
        for id_, one in self.expected.items():
            row = rows[id_]
            found = (row.state, row.attempt, row.dispatcher_id, row.n_crashes)
            assert found == (one.state, one.attempt, one.owner, one.n_crashes)
            assert (row.public_order is not None) == (one.state is State.SCORED)
            assert (row.cancel_requested_at is not None) == one.is_to_be_canceled
            assert attempts[id_] == one.attempt
            told = [step for step in steps if step.submission_id == id_]
            assert len(told) == one.n_steps
            assert [step.to_state for step in told[:-1]] == [step.from_state for step in told[1:]]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_queue_behaves_as_its_model(kind: str, request: pytest.FixtureRequest) -> None:
    if kind == "sqlite":
        template: Path = request.getfixturevalue("sqlite_template")
        numbers = itertools.count()
        directory = Path(tempfile.mkdtemp(prefix="ramp-model-"))
        request.addfinalizer(lambda: shutil.rmtree(directory))

        def make() -> Toy:
            copy = shutil.copy(template, directory / f"{next(numbers)}.db")
            return Toy(Database(f"sqlite:///{copy}"))
    else:
        make_url = request.getfixturevalue("make_postgresql_url")

        def make() -> Toy:
            return Toy(Database(make_url()))

    machine = type("Machine", (QueueMachine,), {"make_toy": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            phases=[Phase.generate],  # to shrink an example takes minutes
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
