"""The log of a run is read while it grows, and nothing else is read in its place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ramp_database.queue import Claim
from ramp_database.states import State
from ramp_engine.attempt import AttemptDirectory
from ramp_engine.cli.follow import Standing, situation
from ramp_engine.live_log import CHUNK_BYTES, LiveLog


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    path = tmp_path / "attempt" / "scratch-x"
    path.mkdir(parents=True)
    (path / "private_log").write_text("secret")
    return path


def live_log(scratch: Path) -> LiveLog:
    return LiveLog(AttemptDirectory(scratch.parent, "submission_000000001"))


def test_a_log_is_waited_for_and_read_as_it_grows(scratch: Path) -> None:
    log = live_log(scratch)
    assert (log.read(), log.is_open) == (b"", False)
    with (scratch / "log").open("ab", buffering=0) as file:
        file.write(b"one\n")
        assert (log.read(), log.read(), log.is_open) == (b"one\n", b"", True)
        file.write(b"two")
        assert log.read() == b"two"
    log.close()


def test_its_end_is_read_also_when_the_run_is_gone(scratch: Path) -> None:
    log = live_log(scratch)
    with (scratch / "log").open("ab", buffering=0) as file:
        file.write(b"one")
        assert log.read() == b"one"
        file.write(b"two")
    shutil.rmtree(scratch)
    assert (log.read(), log.read()) == (b"two", b"")
    log.close()


def test_a_lot_is_read_in_parts(scratch: Path) -> None:
    (scratch / "log").write_bytes(b"x" * (CHUNK_BYTES + 5))
    log = live_log(scratch)
    assert [len(log.read()) for _ in range(3)] == [CHUNK_BYTES, 5, 0]
    log.close()


def test_a_link_in_its_place_is_not_followed(scratch: Path) -> None:
    log = live_log(scratch)
    (scratch / "log").symlink_to(scratch / "private_log")
    assert (log.read(), log.is_open) == (b"", False)
    (scratch / "log").unlink()
    (scratch / "log").hardlink_to(scratch / "private_log")
    assert (log.read(), log.is_open) == (b"", False)
    log.close()


def test_without_the_attempt_there_is_nothing(tmp_path: Path) -> None:
    assert live_log(tmp_path / "nowhere" / "scratch-x").read() == b""


def standing(host: str | None) -> Standing:
    return Standing(State.TRAINING, None, 2, Claim(1, 2, 3), host)


def test_what_is_waited_for_is_told() -> None:
    waiting = Standing(State.NEW, None, 0, None, None)
    assert situation(waiting, "here", is_open=False).startswith("waits to be evaluated")
    assert situation(standing("here"), "here", is_open=True) == "runs, attempt 2: its log follows"
    assert "no log on this machine yet" in situation(standing("here"), "here", is_open=False)
    assert "runs on there, attempt 2: follow it there" in situation(
        standing("there"), "here", is_open=False
    )
