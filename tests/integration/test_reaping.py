"""What dead dispatchers have left is ended by those that live, and nothing else is."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from sqlalchemy.orm import Session

from ramp_database import clock, dispatchers, events, queue
from ramp_database.queue import Claim
from ramp_database.session import Database
from ramp_database.testing import TOY
from ramp_engine.base import IsLive
from ramp_engine.config import EventConfig
from ramp_engine.daemon import Daemon
from ramp_engine.errors import DatabaseUnavailableError, WorkerError
from ramp_engine.reaping import REAP_SECONDS, Place, Reaping, Witness
from ramp_engine.testing import FakeWorker, ManualClock, deploy_fake_event
from tests.integration.dispatching import LONG, dispatching_event, submit, wait_for

STALE_SECONDS = 60.0
ADOPT_SECONDS = 300.0
#: (dispatcher, submission, attempt) of what is there and costs money.
Mark = tuple[int, int, int]


class Cloud:
    """What workers have started outside of their machine."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.there: set[Mark] = set()
        self.calls: list[dict[str, Any]] = []
        self.shared: list[object] = []
        self.trouble: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()

    def note(self, config: Mapping[str, Any], shared: object) -> None:
        with self.changed:
            self.calls.append(dict(config))
            self.shared.append(shared)
            self.changed.notify_all()

    def wait_for_calls(self, n_calls: int) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.calls) >= n_calls, LONG)


class Tenant(FakeWorker):
    """Marks what it starts, and ends what nobody answers for."""

    reaps: ClassVar[bool] = True
    cloud: ClassVar[Cloud] = Cloud()

    @classmethod
    @contextmanager
    def open_shared(cls, config: Mapping[str, Any]) -> Iterator[Any]:
        yield f"shared by all of {config['deployment']}"

    @classmethod
    def reap(cls, config: Mapping[str, Any], shared: Any, is_live: IsLive) -> None:
        cls.cloud.note(config, shared)
        assert cls.cloud.gate.wait(LONG)
        if cls.cloud.trouble is not None:
            raise cls.cloud.trouble
        for mark in sorted(cls.cloud.there):
            if not is_live(*mark):
                cls.cloud.there.discard(mark)

    def setup(self) -> None:
        super().setup()
        names = ("dispatcher_id", "submission_id", "attempt")
        self.cloud.there.add(tuple(self.config[name] for name in names))


@pytest.fixture(autouse=True)
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    made = Cloud()
    monkeypatch.setattr(Tenant, "cloud", made)
    yield made
    made.gate.set()


@pytest.fixture
def event(database: Database, tmp_path: Path) -> EventConfig:
    kind = {"worker_type": "tests.integration.test_reaping:Tenant", "seconds": 3600.0}
    return deploy_fake_event(
        database, tmp_path / "events", worker=kind, n_threads=1, stale_after_seconds=7200.0
    )


class Asked:
    """The toy event's queue, and a witness who has a clock of a test."""

    def __init__(self, database: Database, event: EventConfig) -> None:
        self.database = database
        self.clock = ManualClock()
        event.worker["adopt_within_seconds"] = ADOPT_SECONDS
        self.witness = Witness(database, event, self.clock)

    def register(self) -> int:
        with self.database.session() as session:
            return dispatchers.register(
                session, self.event_id, "host", 1, stale_after_seconds=STALE_SECONDS
            )

    @property
    def event_id(self) -> int:
        with self.database.session(read_only=True) as session:
            return events.get_event(session, TOY).id

    def train(self, handle: str | None = None) -> Claim:
        submit(self.database)
        owner = self.register()
        with self.database.session() as session:
            (claim,) = queue.claim(session, self.event_id, owner, 1)
            queue.start(session, claim, handle=handle)
        return claim

    def is_live(self, claim: Claim) -> bool:
        return self.witness.is_live(claim.dispatcher_id, claim.submission_id, claim.attempt)


@pytest.fixture
def asked(database: Database, event: EventConfig) -> Asked:
    return Asked(database, event)


def test_a_dispatcher_that_ended_answers_for_nothing(asked: Asked) -> None:
    claim = asked.train()
    assert asked.is_live(claim)
    with asked.database.session() as session:
        dispatchers.deregister(session, claim.dispatcher_id)
    assert not asked.is_live(claim)
    assert not asked.witness.is_live(999, claim.submission_id, claim.attempt)


def test_a_run_that_can_be_adopted_is_kept_for_as_long_as_it_goes_on(asked: Asked) -> None:
    claim = asked.train("i-1")
    with asked.database.session() as session:
        dispatchers.deregister(session, claim.dispatcher_id)
    with clock.shifted(ADOPT_SECONDS - 10):
        assert asked.is_live(claim)
    with clock.shifted(ADOPT_SECONDS + 10):
        assert not asked.is_live(claim)


def test_a_silent_dispatcher_is_dead_only_after_it_was_seen_silent_for_long(asked: Asked) -> None:
    claim = asked.train()
    with clock.shifted(100 * STALE_SECONDS):  # after an outage all are silent
        assert asked.is_live(claim)
        asked.clock.advance(STALE_SECONDS - 1)
        assert asked.is_live(claim)
        with asked.database.session() as session:
            assert dispatchers.beat(session, claim.dispatcher_id)
    with clock.shifted(102 * STALE_SECONDS):
        asked.clock.advance(STALE_SECONDS)
        assert asked.is_live(claim), "it has beaten in between"
        asked.clock.advance(STALE_SECONDS - 1)
        asked.witness.doubt()
        asked.clock.advance(1)
        assert asked.is_live(claim), "the database was away"
        asked.clock.advance(STALE_SECONDS)
        assert not asked.is_live(claim)


def test_a_dispatcher_reaps_when_it_starts_and_its_runs_are_marked(
    database: Database, event: EventConfig, cloud: Cloud, asked: Asked
) -> None:
    dead = asked.register()
    with database.session() as session:
        dispatchers.deregister(session, dead)
    cloud.there.add((dead, 17, 1))
    number = submit(database)
    with dispatching_event(database, event) as witness:
        cloud.wait_for_calls(1)
        assert witness.sees(lambda w: w.started == [number])
        owner = next(iter(witness.dispatcher.runs)).dispatcher_id
        assert wait_for(lambda: cloud.there == {(owner, number, 1)})
        (config, shared) = (cloud.calls[0], cloud.shared[0])
        assert config["dispatcher_id"] == owner
        assert len(config["deployment"]) == 16
        assert shared == f"shared by all of {config['deployment']}"


def test_what_a_reap_raises_and_one_that_hangs_harm_nothing(
    database: Database, event: EventConfig, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    time = ManualClock()
    reaping = Reaping(database, lambda: Place(event, Tenant), time)
    for trouble in (WorkerError("EC2 is away"), WorkerError("EC2 is away"), ValueError("a bug")):
        cloud.trouble = trouble
        reaping.turn()
        settle(reaping)
        time.advance(REAP_SECONDS)
    assert caplog.text.count("EC2 is away") == 1
    assert "a bug" in caplog.text
    cloud.gate.clear()
    for _ in range(3):
        reaping.turn(is_urgent=True)
        time.advance(REAP_SECONDS)
    cloud.wait_for_calls(4)
    assert len(cloud.calls) == 4, "no other is called while one hangs"
    cloud.trouble = None
    cloud.gate.set()
    settle(reaping)
    reaping.turn()
    cloud.wait_for_calls(5)
    reaping.join(LONG)


def settle(reaping: Reaping) -> None:
    """Wait for the end of the call that is under way."""
    assert wait_for(lambda: not reaping.is_busy)


class AbsentDatabase(Database):
    """A database that is away when a test says so."""

    is_away = False

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        if self.is_away:
            raise DatabaseUnavailableError(self.label, "planted")
        with super().session(read_only=read_only) as session:
            yield session


def test_while_the_database_is_away_nothing_is_reaped(
    database: Database, event: EventConfig, cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    restless = AbsentDatabase(database.engine.url)
    cloud.there.add((999, 17, 1))
    time = ManualClock()
    reaping = Reaping(restless, lambda: Place(event, Tenant), time)
    cloud.gate.clear()
    reaping.turn()
    cloud.wait_for_calls(1)
    restless.is_away = True  # after the reap has begun
    cloud.gate.set()
    settle(reaping)
    assert cloud.there == {(999, 17, 1)}
    assert "nothing is reaped" in caplog.text
    restless.is_away = False
    time.advance(REAP_SECONDS)
    reaping.turn()
    settle(reaping)
    assert cloud.there == set()
    restless.dispose()


def test_the_daemon_reaps_for_events_without_a_dispatcher(
    database: Database, event: EventConfig, cloud: Cloud, tmp_path: Path
) -> None:
    def start(*_: Any) -> Any:
        raise OSError("no process is to be had")

    cloud.there.add((999, 17, 1))
    time = ManualClock()
    daemon = Daemon(database, tmp_path / "events", None, time, start)
    daemon.turn()  # the event needs a dispatcher, which does not start
    daemon.turn()
    cloud.wait_for_calls(1)
    assert cloud.calls[0]["dispatcher_id"] is None
    assert cloud.calls[0]["seconds"] == 3600.0
    assert cloud.shared == [None]
    assert wait_for(lambda: cloud.there == set())
