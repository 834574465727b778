"""A toy event on either database, and its queue by short names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest
from sqlalchemy import event as events_of_engine
from sqlalchemy import select
from sqlalchemy.orm import Session

from ramp_database import dispatchers, queue, submissions
from ramp_database.model import Attempt, Submission, SubmissionEvent
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import add_toy_event, add_toy_submission, toy_results

STALE_SECONDS = 60.0


class Toy:
    """A toy event in a database; each call is a transaction of its own."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with self.session() as session:
            self.event_id = add_toy_event(session).id

    def session(self) -> AbstractContextManager[Session]:
        return self.database.session()

    def submit(self, team: str = "team", name: str | None = None) -> int:
        with self.session() as session:
            return add_toy_submission(session, team_name=team, name=name).id

    def dispatcher(self) -> int:
        with self.session() as session:
            return dispatchers.register(
                session, self.event_id, "host", 1, stale_after_seconds=STALE_SECONDS
            )

    def claim(self, dispatcher_id: int | None = None, limit: int = 1) -> list[Claim]:
        owner = self.dispatcher() if dispatcher_id is None else dispatcher_id
        with self.session() as session:
            return queue.claim(session, self.event_id, owner, limit)

    def do(self, operation: Any, *arguments: Any) -> Any:
        """Do an operation of the queue in a transaction of its own."""
        with self.session() as session:
            return operation(session, *arguments)

    def bring_to(self, state: State) -> Claim:
        """Bring a new submission to a state, and give its claim; that of a waiting one is void."""
        with self.session() as session:
            for waiting in submissions.ids_by_state(session, self.event_id, {State.NEW}):
                queue.cancel(session, waiting, "out of the way")
            submission_id = add_toy_submission(session).id
            owner = dispatchers.register(session, self.event_id, "host", 1)
            if state is State.NEW:
                return Claim(submission_id, 0, owner)
            (claim,) = queue.claim(session, self.event_id, owner, 1)
            self._bring_on(session, claim, state)
            assert submissions.get(session, submission_id).state is state
        return claim

    def _bring_on(self, session: Session, claim: Claim, state: State) -> None:
        if state in (State.TRAINING, State.TESTED, State.SCORED):
            queue.start(session, claim)
        if state in (State.TESTED, State.SCORED):
            queue.finish(session, claim)
        if state is State.SCORED:
            queue.score(session, claim, toy_results(0.5))
        elif state is State.CANCELED:
            queue.cancel(session, claim.submission_id, "no more")
            queue.acknowledge_cancel(session, claim)
        elif state is State.CHECKING_ERROR:
            queue.crash(session, claim, "broken", 1)
        elif state.is_final:
            queue.fail(session, claim, state, "wrong", "failed")

    def score(self, submission_id: int, valid: float | None, test: float | None = None) -> None:
        claims = self.claim(limit=1000)
        (claim,) = [claim for claim in claims if claim.submission_id == submission_id]
        self.do(queue.start, claim)
        self.do(queue.finish, claim)
        self.do(queue.score, claim, toy_results(valid, test))

    def row(self, submission_id: int) -> Submission:
        with self.session() as session:
            return submissions.get(session, submission_id)

    def history(self, submission_id: int) -> list[SubmissionEvent]:
        with self.session() as session:
            query = select(SubmissionEvent).where(SubmissionEvent.submission_id == submission_id)
            return list(session.scalars(query.order_by(SubmissionEvent.id)))

    def attempts(self, submission_id: int) -> list[Attempt]:
        with self.session() as session:
            query = select(Attempt).where(Attempt.submission_id == submission_id)
            return list(session.scalars(query.order_by(Attempt.number)))


@pytest.fixture
def toy(database: Database) -> Toy:
    return Toy(database)


@pytest.fixture
def statements(database: Database) -> Iterator[list[str]]:
    """The statements that are sent to the database, without those around a transaction."""
    sent: list[str] = []

    def listen(_c: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if not statement.startswith("BEGIN"):
            sent.append(statement)

    events_of_engine.listen(database.engine, "before_cursor_execute", listen)
    yield sent
    events_of_engine.remove(database.engine, "before_cursor_execute", listen)
