"""The daemon keeps a dispatcher running for each deployed event, and none too often."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ramp_database import events
from ramp_database.session import Database
from ramp_database.testing import TOY
from ramp_engine import daemon as daemon_module
from ramp_engine.config import EventConfig
from ramp_engine.daemon import Daemon
from ramp_engine.testing import ManualClock, deploy_fake_event


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
        self.daemon = Daemon(database, directory, None, self.clock, self._start)

    def _start(self, event: EventConfig, command: Sequence[str]) -> FakeProcess:
        assert event.ramp.event_name == TOY
        self.commands.append(command)
        self.started.append(FakeProcess(len(self.started), is_stubborn=self.is_stubborn))
        return self.started[-1]

    def seconds_until_another_starts(self) -> float:
        """Move the clock until one more process was started."""
        n, since = len(self.started), self.clock()
        while len(self.started) == n:
            self.clock.advance(0.25)
            self.daemon.turn()
        return self.clock() - since


@pytest.fixture
def database(sqlite_url: str) -> Iterator[Database]:
    opened = Database(sqlite_url)
    yield opened
    opened.dispose()


@pytest.fixture
def room(database: Database, tmp_path: Path) -> Room:
    (tmp_path / "events").mkdir()
    return Room(database, tmp_path / "events")


def deploy(database: Database, tmp_path: Path) -> None:
    deploy_fake_event(database, tmp_path / "events", hunger_policy="exit")


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
    thread.join(60)
    assert not thread.is_alive()
    assert room.started[0].received == (["TERM", "KILL"] if is_stubborn else ["TERM"])
