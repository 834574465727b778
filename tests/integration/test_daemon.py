"""The daemon keeps a dispatcher running for each deployed event, and none too often."""

from __future__ import annotations

import logging
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from ramp_database import clock, events, queue
from ramp_database.limits import EventLimits
from ramp_database.session import Database
from ramp_database.states import State
from ramp_database.testing import TOY, add_toy_submission
from ramp_engine import daemon as daemon_module
from ramp_engine.config import EventConfig
from ramp_engine.daemon import Daemon
from ramp_engine.errors import DatabaseUnavailableError
from ramp_engine.testing import ManualClock, deploy_fake_event

#: How long the daemons of these tests keep a dispatcher that is not needed, in seconds.
LINGER = 60.0


class FakeProcess:
    """A process that ends when it is told to, or when a test says so."""

    def __init__(self, pid: int, *, is_stubborn: bool = False) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.received: list[str] = []
        self._is_stubborn = is_stubborn

    def poll(self) -> int | None:
        return self.returncode

    def terminate(self) -> None:
        self.received.append("TERM")
        if not self._is_stubborn:
            self.returncode = 0

    def kill(self) -> None:
        self.received.append("KILL")
        self.returncode = -9

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            raise subprocess.TimeoutExpired("dispatcher", timeout or 0.0)
        return self.returncode


class Room:
    """A daemon over a folder of events, with a clock and processes of a test."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.clock = ManualClock()
        self.started: list[FakeProcess] = []
        self.commands: list[Sequence[str]] = []
        self.is_stubborn = False
        self.daemon = Daemon(
            database, directory, None, self.clock, self._start, linger_seconds=LINGER
        )

    def _start(self, event: EventConfig, command: Sequence[str]) -> FakeProcess:
        assert event.ramp.event_name == TOY
        self.commands.append(command)
        self.started.append(FakeProcess(len(self.started), is_stubborn=self.is_stubborn))
        return self.started[-1]

    @property
    def n_running(self) -> int:
        return sum(process.returncode is None for process in self.started)

    def look(self) -> None:
        """Let the daemon look at the database, and act."""
        self.clock.advance(daemon_module.LOOK_SECONDS)
        self.daemon.turn()
        self.daemon.turn()

    def seconds_until_another_starts(self) -> float:
        """Move the clock until one more process was started."""
        n, since = len(self.started), self.clock()
        while len(self.started) == n:
            self.clock.advance(0.25)
            self.daemon.turn()
        return self.clock() - since


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Room:
    (tmp_path / "events").mkdir()
    return Room(database, tmp_path / "events")


def deploy(database: Database, tmp_path: Path) -> None:
    deploy_fake_event(database, tmp_path / "events", hunger_policy="exit")


def set_times(
    database: Database, opening_seconds: float | None = None, closing_seconds: float | None = None
) -> None:
    """Have the event open and close so many seconds from now."""
    with database.session() as session:
        now = clock.read(session)
        times = [
            None if seconds is None else now + timedelta(seconds=seconds)
            for seconds in (opening_seconds, closing_seconds)
        ]
        events.set_limits(session, TOY, EventLimits(opening_at=times[0], closing_at=times[1]))


def submit(database: Database) -> int:
    with database.session() as session:
        return add_toy_submission(session).id


def cancel(database: Database, number: int) -> None:
    """Bring a waiting submission to a final state."""
    with database.session() as session:
        assert queue.cancel(session, number, "done with it") is State.CANCELED


class RestlessDatabase(Database):
    """A database that is away when a test says so, and counts what it is asked."""

    is_away = False
    n_asked = 0

    @contextmanager
    def session(self, *, read_only: bool = False) -> Iterator[Session]:
        self.n_asked += 1
        if self.is_away:
            raise DatabaseUnavailableError(self.label, "planted")
        with super().session(read_only=read_only) as session:
            yield session


def test_a_dispatcher_starts_when_its_event_is_deployed_and_only_one(
    room: Room, database: Database, tmp_path: Path
) -> None:
    room.daemon.turn()
    assert room.started == []
    deploy(database, tmp_path)
    for _ in range(3):
        room.daemon.turn()
    assert len(room.started) == 1
    assert "--stay" in room.commands[0]


def test_each_death_in_a_row_doubles_the_wait_up_to_a_limit(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.daemon.turn()
    waits = []
    for _ in range(12):
        room.started[-1].returncode = 1
        room.daemon.turn()
        waits.append(room.seconds_until_another_starts())
    longest = daemon_module.LONGEST_DELAY_SECONDS
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == longest
    assert max(waits) == longest


def test_a_dispatcher_that_lived_well_is_replaced_without_a_long_wait(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.daemon.turn()
    for _ in range(4):
        room.started[-1].returncode = 1
        room.daemon.turn()
        room.seconds_until_another_starts()
    room.clock.advance(daemon_module.HEALTHY_SECONDS)
    room.started[-1].returncode = 1
    room.daemon.turn()
    assert room.seconds_until_another_starts() == daemon_module.FIRST_DELAY_SECONDS


def test_a_broken_event_harms_no_other_and_is_told_once(
    room: Room, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    deploy(database, tmp_path)
    broken = tmp_path / "events" / "a_broken_one" / "config.yml"
    broken.parent.mkdir()
    broken.write_text("ramp: [broken\n")
    for _ in range(40):
        room.daemon.turn()
        room.clock.advance(1.0)
    assert len(room.started) == 1
    told = [record for record in caplog.records if str(broken) in record.getMessage()]
    assert len(told) == 1


def test_no_dispatcher_starts_for_an_event_that_was_deleted(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.daemon.turn()
    with database.session() as session:
        events.delete_event(session, TOY)
    (tmp_path / "events" / TOY / "config.yml").unlink()
    room.started[-1].returncode = 0
    for _ in range(10):
        room.daemon.turn()
        room.clock.advance(60.0)
    assert len(room.started) == 1
    assert room.daemon.processes == []


@pytest.mark.parametrize("is_stubborn", [False, True])
def test_the_end_of_the_daemon_is_the_end_of_its_dispatchers(
    room: Room, database: Database, tmp_path: Path, is_stubborn: bool
) -> None:
    deploy(database, tmp_path)
    room.is_stubborn = is_stubborn
    thread = threading.Thread(target=room.daemon.run)
    room.daemon.turn()
    thread.start()
    room.daemon.stop()
    thread.join(240)
    assert not thread.is_alive()
    assert room.started[0].received == (["TERM", "KILL"] if is_stubborn else ["TERM"])


def test_a_dispatcher_starts_when_its_event_opens(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    set_times(database, opening_seconds=3600.0)
    room.look()
    assert room.started == []
    with clock.shifted(3700.0):
        room.look()
    assert room.n_running == 1


def test_a_submission_before_the_opening_time_is_not_stuck(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    number = submit(database)
    set_times(database, opening_seconds=3600.0)
    room.look()
    assert room.n_running == 1
    cancel(database, number)
    room.look()
    assert room.n_running == 0
    assert room.started[0].received == ["TERM"]


def test_a_dispatcher_ends_some_time_after_its_event_closed_and_late_submissions_are_done(
    room: Room, database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    deploy(database, tmp_path)
    set_times(database, closing_seconds=3600.0)
    number = submit(database)
    room.look()
    with clock.shifted(3600.0 + 10 * LINGER):
        for _ in range(3):
            room.look()
        assert room.n_running == 1, "a late submission is open"
        cancel(database, number)
        room.look()
        assert room.n_running == 1, "it is kept for a while"
        room.clock.advance(LINGER)
        room.look()
        assert room.started[0].received == ["TERM"]
        room.clock.advance(100 * LINGER)
        room.look()
    assert len(room.started) == 1
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert [line.split()[0] for line in told] == ["started", "ending", "dispatcher"]
    assert "submissions are open" in told[0]
    assert "the event is closed and nothing is open" in told[1]


@pytest.mark.parametrize("is_reopened", [True, False])
def test_a_closed_event_gets_a_dispatcher_again_when_there_is_something_to_do(
    room: Room, database: Database, tmp_path: Path, is_reopened: bool
) -> None:
    """An organiser reopens a submission, or moves the closing time."""
    deploy(database, tmp_path)
    number = submit(database)
    cancel(database, number)
    set_times(database, closing_seconds=-2 * LINGER)
    for _ in range(3):
        room.look()
    assert room.started == [], "a daemon that starts late starts no dispatcher for nothing"
    if is_reopened:
        with database.session() as session:
            queue.reopen(session, number, "again")
    else:
        set_times(database, closing_seconds=3600.0)
    room.look()
    assert room.n_running == 1


def test_a_dispatcher_that_was_told_to_end_is_replaced_at_once_when_it_is_needed_again(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.is_stubborn = True
    room.look()
    set_times(database, closing_seconds=-2 * LINGER)
    room.look()
    set_times(database, closing_seconds=3600.0)
    room.look()
    assert (len(room.started), room.started[0].received) == (1, ["TERM"])
    room.started[0].returncode = 0
    room.daemon.turn()
    assert room.n_running == 1


def test_a_dispatcher_that_does_not_end_is_killed(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.is_stubborn = True
    room.look()
    set_times(database, closing_seconds=-2 * LINGER)
    for _ in range(3):
        room.look()
    assert room.started[0].received == ["TERM"], "a second signal would end it at once"
    room.clock.advance(daemon_module.SHUTDOWN_SECONDS)
    room.look()
    assert room.started[0].received == ["TERM", "KILL"]
    assert room.daemon.processes == []


def test_the_end_of_the_daemon_sends_no_second_signal_to_a_dispatcher_that_ends_already(
    room: Room, database: Database, tmp_path: Path
) -> None:
    deploy(database, tmp_path)
    room.is_stubborn = True
    room.look()
    set_times(database, closing_seconds=-2 * LINGER)
    room.look()
    room.daemon.stop()
    room.daemon.run()
    assert room.started[0].received == ["TERM", "KILL"]


@pytest.fixture
def restless(database_url: str) -> Iterator[RestlessDatabase]:
    opened = RestlessDatabase(database_url)
    yield opened
    opened.dispose()


def test_dispatchers_stay_while_the_database_is_away_and_that_is_told_once(
    restless: RestlessDatabase, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "events").mkdir()
    room = Room(restless, tmp_path / "events")
    deploy(restless, tmp_path)
    room.look()
    set_times(restless, closing_seconds=-2 * LINGER)
    restless.is_away = True
    for _ in range(3):
        room.look()
    assert (room.n_running, room.started[0].received) == (1, [])
    assert len([one for one in caplog.records if "planted" in one.getMessage()]) == 1
    restless.is_away = False
    room.look()
    assert room.started[0].received == ["TERM"]


def test_a_dispatcher_that_died_while_the_database_was_away_is_replaced_when_it_is_back(
    restless: RestlessDatabase, tmp_path: Path
) -> None:
    (tmp_path / "events").mkdir()
    room = Room(restless, tmp_path / "events")
    deploy(restless, tmp_path)
    room.look()
    restless.is_away = True
    room.look()
    room.started[0].returncode = 1
    for _ in range(20):
        room.look()
    assert len(room.started) == 1
    restless.is_away = False
    room.look()
    assert room.n_running == 1


def test_dispatchers_that_could_not_start_without_the_database_start_at_once_when_it_is_back(
    restless: RestlessDatabase, tmp_path: Path
) -> None:
    """It comes and goes, and each start has met it when it was away."""
    (tmp_path / "events").mkdir()
    room = Room(restless, tmp_path / "events")
    deploy(restless, tmp_path)
    room.daemon.turn()
    for _ in range(10):
        room.started[-1].returncode = 1
        room.daemon.turn()
        room.seconds_until_another_starts()
    room.started[-1].returncode = 1
    restless.is_away = True
    room.look()
    restless.is_away = False
    n = len(room.started)
    room.look()
    assert len(room.started) == n + 1
    room.started[-1].returncode = 1
    room.daemon.turn()
    assert room.seconds_until_another_starts() == daemon_module.FIRST_DELAY_SECONDS


def test_the_daemon_asks_the_database_every_few_seconds_and_once_for_all(
    restless: RestlessDatabase, tmp_path: Path
) -> None:
    (tmp_path / "events").mkdir()
    room = Room(restless, tmp_path / "events")
    deploy(restless, tmp_path)
    room.daemon.turn()
    restless.n_asked = 0
    for _ in range(120):
        room.clock.advance(0.25)
        room.daemon.turn()
    assert restless.n_asked == 30 / daemon_module.LOOK_SECONDS
