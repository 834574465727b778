"""Limits: how they are read, told, and held against logs and files."""

from __future__ import annotations

import os
import re
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.evaluation.disk_use import DiskUse, walk
from ramp_engine.evaluation.limits import Excess, Limits, Sandbox, parse_sandbox
from ramp_engine.evaluation.log_aside import LogAside
from ramp_engine.evaluation.log_pump import Log, LogPump


def test_a_sandbox_is_read_from_json() -> None:
    text = (
        '{"level": "namespaces", "uid": 65534, "gid": 65534, "read": ["/extra"],'
        ' "limits": {"memory_mb": 4096, "fold_seconds": null}}'
    )
    limits = Limits(memory_mb=4096)
    assert parse_sandbox(text) == Sandbox("namespaces", 65534, 65534, ("/extra",), False, limits)
    assert parse_sandbox("{}") == Sandbox("none")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "is no object"),
        ("{", "Expecting"),
        ('{"level": "chroot"}', "'chroot' is none of namespaces, landlock, none"),
        ('{"levle": "none"}', "unknown: levle"),
        ('{"limits": {"memory": 1}}', "unknown: memory"),
        ('{"limits": {"memory_mb": "1"}}', "memory_mb is '1', not a positive number"),
        ('{"limits": {"memory_mb": 0}}', "not a positive number"),
        ('{"limits": {"memory_mb": true}}', "not a positive number"),
        ('{"limits": {"memory_mb": NaN}}', "not a positive number"),
    ],
)
def test_a_sandbox_that_makes_no_sense_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_sandbox(text)


@pytest.mark.parametrize(
    ("excess", "sentence"),
    [
        (Excess("memory", 3174.2, 3072), "out of memory: 3.1 GB of 3 GB in fold 2, training"),
        (Excess("memory", 3072.5, 3072), "out of memory: 3.0005 GB of 3 GB in fold 2, training"),
        (Excess("memory", 512.04, 512), "out of memory: 512.04 MB of 512 MB in fold 2, training"),
        (Excess("fold_seconds", 60.1, 60), "out of time: 60.1 s of 60 s in fold 2, training"),
        (Excess("processes", 300, 256), "too many processes: 300 of 256 in fold 2, training"),
        (Excess("threads", 5120, 4096), "too many threads: 5120 of 4096 in fold 2, training"),
        (Excess("n_files", 10_000, 100), "too many files: 10000 of 100 in fold 2, training"),
        (Excess("file_mb", 64, 64), "a file is too large: 64 MB of 64 MB in fold 2, training"),
    ],
)
def test_an_excess_is_told_in_figures_that_show_it(excess: Excess, sentence: str) -> None:
    assert excess.sentence(2, "training") == f"{sentence}\n"


def test_an_excess_is_written_with_its_unit() -> None:
    assert Excess("memory", 3174.23, 3072).to_json("training") == {
        "limit": "memory",
        "figure": 3174.2,
        "allowed": 3072.0,
        "unit": "MB",
        "phase": "training",
    }


def test_the_kernel_holds_what_one_process_can_exceed_alone() -> None:
    rlimits = Limits(open_files=64, file_mb=2, cpu_seconds=1.5, memory_mb=100).rlimits()
    assert rlimits == {"NOFILE": 64, "FSIZE": 2 << 20, "CPU": 3, "CORE": 0}


@pytest.mark.parametrize("chunk", [1, 7, 100, 5000])
def test_of_a_long_log_head_and_tail_are_kept(chunk: int, tmp_path: Path) -> None:
    content = b"".join(b"%04d\n" % number for number in range(1000))
    log = Log(tmp_path / "log", max_bytes=1000)
    for start in range(0, len(content), chunk):
        log.write(content[start : start + chunk])
        assert (tmp_path / "log").stat().st_size <= 500
    log.finish()
    log.finish()
    left_out = b"\n[... 4000 bytes left out ...]\n"
    assert (tmp_path / "log").read_bytes() == content[:500] + left_out + content[-500:]


def test_a_log_within_its_limit_is_kept_as_it_is(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", max_bytes=1000)
    for _ in range(100):
        log.write(b"123456789\n")
    log.finish()
    assert (tmp_path / "log").read_bytes() == b"123456789\n" * 100


def test_a_private_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    (tmp_path / "log").symlink_to("other")
    log = Log(tmp_path / "log")
    log.write(b"secret")
    log.finish()
    assert (tmp_path / "other").read_bytes() == b""


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_what_comes_after_the_switch_is_private(pipe: tuple[int, int], tmp_path: Path) -> None:
    public, private = Log(tmp_path / "public"), Log(tmp_path / "private")
    pump = LogPump(pipe[0], public, private)
    os.write(pipe[1], b"before")
    pump.switch(b"header\n")
    copy = os.dup(pipe[1])
    os.write(copy, b"after")
    os.close(copy)
    assert pump.pump()
    pump.drain()
    assert (tmp_path / "public").read_bytes() == b"before"
    assert (tmp_path / "private").read_bytes() == b"header\nafter"
    assert (tmp_path / "private").stat().st_mode & 0o777 == 0o600


PARTS = [b"one line\n" * 3, b"x" * 50, bytes(range(256)), b"", b"the end\n"]


@pytest.mark.parametrize("max_bytes", [1, 40, 101, 300, 1000, 5000, None])
@pytest.mark.parametrize("n_before", [0, 10, 200])
@pytest.mark.parametrize("n_parts", [1, 4, 30])
def test_what_was_kept_aside_gives_the_log_that_there_would_have_been(
    tmp_path: Path, max_bytes: int | None, n_before: int, n_parts: int
) -> None:
    at_once, later = Log(tmp_path / "at_once", max_bytes), Log(tmp_path / "later", max_bytes)
    aside = LogAside(tmp_path / "folder", max_bytes)
    for log in (at_once, later):
        log.write(b"b" * n_before)
    for part in (PARTS * n_parts)[:n_parts]:
        at_once.write(part)
        aside.write(part)
    aside.move_to(later)
    for log in (at_once, later):
        log.write(b"after")
        log.finish()
    assert (tmp_path / "later").read_bytes() == (tmp_path / "at_once").read_bytes()
    assert list((tmp_path / "folder").iterdir()) == []


def test_a_full_disk_costs_lines_of_what_is_kept_aside(tmp_path: Path) -> None:
    aside, log = LogAside(tmp_path, None), Log(tmp_path / "log")
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, allowed[1]))
    try:
        for part in (b"12345678", b"abcdef", b"ghi"):
            aside.write(part)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, allowed)
    aside.move_to(log)
    log.finish()
    said = "12345678ab\n[... 7 bytes left out ...]\n"
    assert (tmp_path / "log").read_text() == said


def used(*folders: Path) -> DiskUse:
    *_, use = walk(folders)
    return use


def test_disk_use_counts_blocks_and_follows_no_link(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "below").mkdir(parents=True)
    (tmp_path / "elsewhere").write_bytes(bytes(1 << 20))
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "to_folder").symlink_to(tmp_path)
    with (folder / "sparse").open("wb") as sparse:
        sparse.truncate(1 << 30)
    (folder / "below" / "full").write_bytes(b"x" * (1 << 16))
    os.link(folder / "below" / "full", folder / "below" / "again")
    use = used(folder, tmp_path / "missing")
    assert use.n_files == 6
    assert 1 << 16 <= use.n_bytes < 1 << 18


def test_a_walk_goes_in_steps(tmp_path: Path) -> None:
    for number in range(2500):
        (tmp_path / str(number)).touch()
    assert len(list(walk([tmp_path]))) == 3
    assert used(tmp_path).n_files == 2500
