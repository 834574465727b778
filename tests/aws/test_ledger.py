"""What instances cost is counted by day, whatever was killed and whichever clock jumped."""

from __future__ import annotations

import fcntl
import logging
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws.config import AWSWorkerConfig
from ramp_engine.aws.ledger import Ledger
from ramp_engine.errors import ResourceUnavailableError, WorkerSetupError

NOON = datetime(2026, 3, 14, 12, tzinfo=UTC)
PRICES: dict[str, Any] = {
    "price_per_hour": {"t3.large": 0.5, "g5.xlarge": 2.0},
    "spot_price_per_hour": {"t3.large": 0.25},
}


@dataclass(frozen=True)
class Machine:
    """An instance as EC2 might describe it."""

    id: str
    launched_at: datetime = NOON
    kind: str = "t3.large"
    is_spot: bool = False


def settings(**keys: Any) -> AWSWorkerConfig:
    return AWSWorkerConfig(
        ami_image_id="ami-1",
        instance_type=["t3.large", "g5.xlarge"],
        key_name="key",
        key_path=Path("/key.pem"),
        security_group="sg-1",
        **(PRICES | keys),
    )


class Book:
    """Ledgers over one folder, whose clock a test moves."""

    def __init__(self, logs_dir: Path) -> None:
        self.logs_dir = logs_dir
        self.now = NOON

    def ledger(self, **keys: Any) -> Ledger:
        return Ledger(self.logs_dir, settings(**keys), lambda: self.now)

    def pass_hours(self, hours: float) -> None:
        self.now += timedelta(hours=hours)


@pytest.fixture
def book(tmp_path: Path) -> Book:
    return Book(tmp_path / "logs")


def test_hours_and_cost_are_those_of_the_day_by_type_and_market(book: Book) -> None:
    ledger = book.ledger()
    ledger.launched(Machine("i-1"))
    ledger.launched(Machine("i-2", kind="g5.xlarge"))
    ledger.launched(Machine("i-3", is_spot=True))
    book.pass_hours(2)
    ledger.ended("i-2")
    ledger.ended("i-2")
    book.pass_hours(2)
    usage = ledger.today()
    assert usage.hours == pytest.approx(4 + 2 + 4)
    assert usage.cost == pytest.approx(4 * 0.5 + 2 * 2.0 + 4 * 0.25)
    assert (usage.n_running, usage.cost_per_hour) == (2, 0.75)
    assert book.ledger().today() == usage


def test_an_instance_that_spans_midnight_counts_for_both_days(book: Book) -> None:
    ledger = book.ledger()
    ledger.launched(Machine("i-1"))
    book.pass_hours(11.5)
    assert ledger.today().hours == pytest.approx(11.5)
    book.pass_hours(1.5)
    assert ledger.today().hours == pytest.approx(1)


def test_all_dispatchers_of_an_event_have_one_budget_and_get_more_at_midnight(book: Book) -> None:
    one, other = book.ledger(max_instance_hours=4), book.ledger(max_instance_hours=4)
    one.launched(Machine("i-1"))
    other.launched(Machine("i-2"))
    book.pass_hours(1.9)
    one.allow("t3.large", False)
    book.pass_hours(0.1)
    for ledger in (one, other):
        with pytest.raises(ResourceUnavailableError, match="4 instance-hours of today are used up"):
            ledger.allow("t3.large", False)
    book.pass_hours(10.5)
    one.allow("t3.large", False)


def test_a_day_may_cost_so_much_and_types_without_a_price_are_refused(book: Book) -> None:
    ledger = book.ledger(max_cost=3)
    ledger.launched(Machine("i-1", kind="g5.xlarge"))
    book.pass_hours(1)
    ledger.allow("t3.large", True)
    with pytest.raises(WorkerSetupError, match="no price of p5"):
        ledger.allow("p5.huge", False)
    book.pass_hours(0.5)
    with pytest.raises(ResourceUnavailableError, match="more at 00:00 UTC"):
        ledger.allow("t3.large", True)


def test_half_a_line_of_a_killed_writer_spoils_nothing_else(book: Book, caplog: Any) -> None:
    ledger = book.ledger()
    ledger.launched(Machine("i-1"))
    whole = ledger.path.read_bytes()
    ledger.launched(Machine("i-2"))
    ledger.path.write_bytes(whole + ledger.path.read_bytes()[len(whole) :][:30])
    book.pass_hours(1)
    assert book.ledger().today().hours == pytest.approx(1)
    with caplog.at_level(logging.WARNING):
        book.ledger().launched(Machine("i-3"))
    assert book.ledger().today().n_running == 2
    assert "left out" in caplog.text


@pytest.mark.parametrize("hours", [-48.0, 24.0 * 365])
def test_a_clock_that_jumps_counts_for_no_more_than_a_life_and_no_less_than_nothing(
    book: Book, hours: float
) -> None:
    ledger = book.ledger(max_lifetime_hours=6)
    ledger.launched(Machine("i-1", launched_at=NOON - timedelta(hours=1)))
    book.pass_hours(hours)
    ledger.ended("i-1")
    assert ledger.today().hours == 0
    book.now = NOON
    assert 0 <= book.ledger(max_lifetime_hours=6).today().hours <= 6
    assert ledger.today().n_running == 0


def test_what_ec2_knows_corrects_the_ledger(book: Book) -> None:
    ledger = book.ledger()
    ledger.launched(Machine("i-gone"))
    ledger.launched(Machine("i-there"))
    book.pass_hours(1)
    young = Machine("i-young", launched_at=book.now)
    ledger.launched(young)
    unnoted = Machine("i-unnoted", launched_at=NOON + timedelta(minutes=30))
    ledger.settle([Machine("i-there"), unnoted], book.now)
    assert ledger.today().n_running == 3  # all but the one that is gone
    assert ledger.today().hours == pytest.approx(1 + 1 + 0.5)
    lines = ledger.path.read_bytes()
    asked_at = book.now
    book.pass_hours(0.01)
    ledger.settle([Machine("i-there"), unnoted, young], asked_at)
    assert ledger.path.read_bytes() == lines
    ledger.ended("i-there")
    ledger.settle([Machine("i-there"), unnoted, young], asked_at)
    assert ledger.today().n_running == 2, "it has ended since EC2 was asked"
    book.pass_hours(1)
    ledger.settle([Machine("i-there"), unnoted, young], book.now)
    assert ledger.today().n_running == 3, "it lives all the same"


def test_without_a_place_to_record_nothing_is_launched_on_a_budget(book: Book, caplog: Any) -> None:
    book.logs_dir.write_text("a file")
    ledger = book.ledger(max_instance_hours=1)
    with pytest.raises(ResourceUnavailableError, match="cannot be used"):
        ledger.allow("t3.large", False)
    ledger.launched(Machine("i-1"))
    assert "cannot be used" in caplog.text


def test_the_forecast_says_when_the_budget_will_be_used_up(book: Book) -> None:
    assert book.ledger().forecast() is None
    ledger = book.ledger(max_instance_hours=10, max_cost=100)
    assert ledger.forecast() is not None
    assert not ledger.path.exists()
    for id_ in ("i-1", "i-2"):
        ledger.launched(Machine(id_))
    book.pass_hours(2)
    told = ledger.forecast()
    assert told == (
        "today (UTC): instance-hours 4.0 of 10 (reached at 17:00 UTC at the present rate), "
        "cost 2.00 of 100 (not reached today at the present rate); 2 instances run"
    )
    book.pass_hours(3)
    assert "instance-hours 10.0 of 10 (used up until 00:00 UTC)" in (ledger.forecast() or "")


def test_who_writes_waits_for_another_that_is_in_the_midst_of_a_line(book: Book) -> None:
    ledger = book.ledger()
    ledger.launched(Machine("i-1"))
    line = ledger.path.read_bytes().replace(b"i-1", b"i-2")
    with ledger.path.open("ab", buffering=0) as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.write(line[:30])
        writer = threading.Thread(target=ledger.launched, args=(Machine("i-3"),))
        writer.start()
        writer.join(0.5)
        assert writer.is_alive()
        other.write(line[30:])
    writer.join()
    assert book.ledger().today().n_running == 3
    assert len(ledger.path.read_bytes().splitlines()) == 3
