"""The limits of an event: when, how often and how large a team may submit."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from ramp_database import clock, events, queue
from ramp_database.errors import SubmissionRejectedError
from ramp_database.limits import EventLimits
from ramp_database.session import Database
from ramp_database.testing import TOY, add_toy_submission
from tests.database.conftest import Toy


def limit(toy: Toy, **limits: Any) -> None:
    with toy.session() as session:
        events.set_limits(session, TOY, EventLimits(**limits))


def rejection(toy: Toy, team: str = "team") -> SubmissionRejectedError:
    with pytest.raises(SubmissionRejectedError) as caught:
        toy.submit(team)
    return caught.value


def test_an_event_takes_submissions_between_opening_and_closing(toy: Toy) -> None:
    with toy.session() as session:
        now = clock.read(session)
    hour = timedelta(hours=1)
    limit(toy, opening_at=now + hour, closing_at=now + 2 * hour)
    early = rejection(toy)
    assert early.retry_at == now + hour
    assert "not open yet" in str(early)
    assert "Come back at" in str(early)
    with clock.shifted(3660):
        toy.submit()
    with clock.shifted(7260):
        late = rejection(toy)
    assert "closed at" in str(late)
    assert late.retry_at is None


def test_a_team_may_submit_so_often_in_24_hours(toy: Toy) -> None:
    limit(toy, max_submissions_per_day=2)
    first = toy.row(toy.submit())
    with clock.shifted(3600):
        toy.submit()
        toy.submit("other")
        told = rejection(toy)
    assert told.retry_at == first.submitted_at + timedelta(hours=24)
    assert "2 times in 24 hours" in str(told)
    with clock.shifted(24 * 3600 + 60):
        toy.submit()
        rejection(toy)


def test_a_team_may_submit_so_soon_after_its_last(toy: Toy) -> None:
    limit(toy, min_seconds_between_submissions=900.0)
    first = toy.row(toy.submit())
    told = rejection(toy)
    assert told.retry_at == first.submitted_at + timedelta(seconds=900)
    assert "every 0:15:00" in str(told)
    toy.submit("other")
    with clock.shifted(960):
        toy.submit()


def test_the_later_of_two_times_is_told(toy: Toy) -> None:
    limit(toy, min_seconds_between_submissions=900.0, max_submissions_per_day=1)
    first = toy.row(toy.submit())
    assert rejection(toy).retry_at == first.submitted_at + timedelta(hours=24)


def test_who_cannot_come_back_before_the_end_is_told_so(toy: Toy) -> None:
    with toy.session() as session:
        closing_at = clock.read(session) + timedelta(hours=1)
    limit(toy, max_submissions_per_day=1, closing_at=closing_at)
    toy.submit()
    told = rejection(toy)
    assert told.retry_at is None
    assert "before you may submit again" in str(told)


def test_a_failure_of_ours_does_not_count(toy: Toy) -> None:
    limit(toy, max_submissions_per_day=1, min_seconds_between_submissions=900.0)
    toy.submit()
    (claim,) = toy.claim()
    toy.do(queue.crash, claim, "broken", 1)
    toy.submit()
    rejection(toy)


def test_a_submission_may_be_so_large(toy: Toy) -> None:
    limit(toy, max_submission_mb=1e-6)
    told = rejection(toy)
    assert "MB" in str(told)
    assert told.retry_at is None
    limit(toy, max_submission_mb=1.0)
    toy.submit()


def test_what_was_rejected_leaves_nothing(toy: Toy) -> None:
    limit(toy, max_submissions_per_day=1)
    toy.submit()
    rejection(toy)
    with toy.session() as session:
        assert queue.count_open(session, toy.event_id) == 1


def test_of_several_submissions_of_a_team_at_once_the_limit_lets_one_in(toy: Toy) -> None:
    toy.do(queue.cancel, toy.submit(), "only to sign up")
    limit(toy, max_submissions_per_day=2)
    barrier = threading.Barrier(4)

    def submit(_number: int) -> bool:
        database = Database(toy.database.engine.url)
        with database.session(read_only=True):
            pass
        barrier.wait()
        try:
            with database.session() as session:
                add_toy_submission(session)
        except SubmissionRejectedError:
            return False
        finally:
            database.dispose()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(submit, range(4))) == 1
