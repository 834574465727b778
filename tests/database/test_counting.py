"""What is counted of each state is what is there, however a submission got there."""

from __future__ import annotations

from sqlalchemy import event as events_of_engine
from sqlalchemy import func, select

from ramp_database import events, queue
from ramp_database.model import EndedCount, Submission
from ramp_database.queue.counting import count_states
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY
from tests.database.conftest import Toy


def there(toy: Toy) -> dict[State, int]:
    with toy.session() as session:
        query = select(Submission.state, func.count()).group_by(Submission.state)
        return dict(session.execute(query).all())


def counted(toy: Toy) -> dict[State, int]:
    with toy.session() as session:
        return count_states(session, toy.event_id)


def test_every_state_is_counted(toy: Toy) -> None:
    assert counted(toy) == {}
    for state in State:
        toy.bring_to(state)
        assert counted(toy) == there(toy)
    assert set(counted(toy)) >= set(State) - {State.NEW}


def test_what_is_reopened_or_set_by_hand_is_not_counted_twice(toy: Toy) -> None:
    ids = [toy.bring_to(State.SCORED).submission_id for _ in range(3)]
    toy.do(queue.reopen, ids[0], "again")
    assert counted(toy) == there(toy) == {State.SCORED: 2, State.NEW: 1}
    toy.do(queue.set_state, ids[0], State.CANCELED, "by hand")
    toy.do(queue.set_state, ids[1], State.NEW, "by hand")
    assert counted(toy) == there(toy)
    toy.do(queue.reopen, ids[2], "again")
    assert State.SCORED not in counted(toy)


def test_the_count_of_an_event_goes_with_it(toy: Toy) -> None:
    toy.bring_to(State.SCORED)
    toy.do(events.delete_event, TOY)
    with toy.session() as session:
        assert session.scalar(select(func.count()).select_from(EndedCount)) == 0


def test_counting_looks_at_no_row_that_has_ended(toy: Toy, database: Database) -> None:
    toy.bring_to(State.SCORED)
    sent = []

    def listen(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        sent.append(statement)

    events_of_engine.listen(database.engine, "before_cursor_execute", listen)
    counted(toy)
    events_of_engine.remove(database.engine, "before_cursor_execute", listen)
    (query,) = (one for one in sent if one.startswith("SELECT"))
    assert query.count("FROM submissions") == 1
    assert "submissions.state IN" in query
