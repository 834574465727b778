"""A full disk is known by its error, however deep, and by what it refuses."""

from __future__ import annotations

import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ramp_engine.errors import CollectError, RampError
from ramp_engine.room import MIN_FREE_BYTES, Room, as_good_as_full, find_full

WORK = Path("/event/work")


def full(number: int = errno.ENOSPC, *names: str) -> OSError:
    return OSError(number, os.strerror(number), *names)


def raised(work: Callable[[], object]) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is
        work()
    return caught.value


def test_a_device_that_is_full_is_told_and_named_by_the_default() -> None:
    def write() -> None:
        with Path("/dev/full").open("w") as file:
            file.write("x")

    assert find_full(raised(write), WORK) == WORK


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_the_directory_of_the_file_is_named(number: int, tmp_path: Path) -> None:
    assert find_full(full(number, "/logs/one/log"), WORK) == Path("/logs/one")
    assert find_full(full(number, str(tmp_path)), WORK) == tmp_path


def test_of_a_renaming_the_target_is_named() -> None:
    error = OSError(errno.ENOSPC, "full", "/here/a", None, "/there/b")
    assert find_full(error, WORK) == Path("/there")


def test_it_is_found_among_the_causes_and_contexts() -> None:
    def wrap() -> None:
        try:
            raise full(errno.EDQUOT, "/logs/log")
        except OSError as error:
            raise CollectError("no copy") from error

    def fail_in_handling() -> None:
        try:
            wrap()
        except CollectError:
            {}["nothing"]

    for error in (raised(wrap), raised(fail_in_handling)):
        assert find_full(error, WORK) == Path("/logs")


def test_it_is_found_where_copying_a_tree_gathered_errors(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "file").touch()

    def copy(_source: str, target: str) -> None:
        raise full(errno.ENOSPC, target)

    work = lambda: shutil.copytree(tmp_path / "source", tmp_path / "new", copy_function=copy)  # noqa: E731
    assert find_full(raised(work), WORK) == WORK


@pytest.mark.parametrize(
    "error",
    [
        RampError("no"),
        full(errno.EACCES, "/logs/log"),
        OSError("no number"),
        shutil.Error("the target exists"),
        shutil.Error([("a", "b", "[Errno 13] Permission denied")]),
    ],
)
def test_other_errors_are_about_something_else(error: Exception) -> None:
    assert find_full(error, WORK) is None


def test_errors_that_cause_each_other_are_looked_at_once() -> None:
    one, other = RampError("one"), RampError("other")
    one.__cause__, other.__cause__ = other, one
    assert find_full(one, WORK) is None


def test_a_disk_with_next_to_nothing_free_is_a_cause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    for free, expected in ((MIN_FREE_BYTES, None), (MIN_FREE_BYTES - 1, tmp_path)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        cause = as_good_as_full(tmp_path)
        assert (cause and find_full(cause, WORK)) == expected


def test_what_failing_runs_gave_back_is_not_room_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = MIN_FREE_BYTES - 1
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    room = Room(tmp_path)
    room.doubt()
    room.check()
    assert not room.is_there
    free = MIN_FREE_BYTES
    room.check()
    assert room.is_there


def test_without_doubt_nothing_is_written(tmp_path: Path) -> None:
    room = Room(tmp_path / "work")
    room.check()
    assert room.is_there
    assert not (tmp_path / "work").exists()


def test_a_disk_that_refuses_is_asked_until_it_takes_a_file_and_both_are_told_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    blocked = tmp_path / "work"
    blocked.touch()  # no directory can be there
    room = Room(blocked)
    room.doubt()
    for _ in range(3):
        room.check()
        assert not room.is_there
    blocked.unlink()
    for _ in range(3):
        room.check()
        assert room.is_there
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]
    assert all(str(blocked) in record.getMessage() for record in caplog.records)
    assert list(blocked.iterdir()) == []
