"""What killed processes left behind is swept; what a live one uses stays."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ramp_database.session import Database
from ramp_engine.dispatcher import Dispatcher
from ramp_engine.evaluation.scratch import MAKING, scratch_directory, sweep
from ramp_engine.testing import deploy_fake_event

HOLDER = """
import sys
from pathlib import Path
from ramp_engine.evaluation.scratch import scratch_directory
with scratch_directory(Path(sys.argv[1]), sys.argv[2]) as directory:
    (directory / "secret").mkdir()
    (directory / "secret" / "labels").touch()
    print(directory, flush=True)
    sys.stdin.read()
"""


class Holder:
    """A process that uses a scratch directory."""

    def __init__(self, parent: Path, prefix: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(parent), prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.directory = Path(self.process.stdout.readline().strip())
        assert self.directory.is_dir()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.communicate()


@pytest.fixture
def hold() -> Iterator[Callable[[Path, str], Holder]]:
    made: list[Holder] = []

    def start(parent: Path, prefix: str) -> Holder:
        made.append(Holder(parent, prefix))
        return made[-1]

    yield start
    for holder in made:
        holder.kill()
        holder.process.communicate()


def test_a_sweep_removes_what_the_dead_left_and_nothing_else(
    tmp_path: Path, hold: Callable[[Path, str], Holder]
) -> None:
    dead, live, other = hold(tmp_path, "a-"), hold(tmp_path, "a-"), hold(tmp_path, "b-")
    for holder in (dead, other):
        holder.kill()
    assert sweep(tmp_path, "a-") == [dead.directory]
    assert live.directory.is_dir()
    assert other.directory.is_dir()
    live.end()
    assert not live.directory.exists()


def test_nothing_is_swept_where_there_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "a-file").touch()
    (tmp_path / "a-directory").mkdir()
    assert sweep(tmp_path, "a-") == []
    assert sweep(tmp_path / "missing", "a-") == []
    assert len(list(tmp_path.iterdir())) == 2


def test_sweeps_at_any_moment_remove_nothing_that_is_used(tmp_path: Path) -> None:
    is_done = threading.Event()

    def sweep_on() -> None:
        while not is_done.is_set():
            sweep(tmp_path, "a-")

    sweepers = [threading.Thread(target=sweep_on) for _ in range(2)]
    for sweeper in sweepers:
        sweeper.start()
    try:
        for _ in range(300):
            with scratch_directory(tmp_path, "a-") as directory:
                (directory / "one").touch()
                assert (directory / "one").exists()
    finally:
        is_done.set()
        for sweeper in sweepers:
            sweeper.join()
    assert list(tmp_path.iterdir()) == []


def test_a_dispatcher_sweeps_what_steps_left_that_were_killed(
    sqlite_url: str, tmp_path: Path, hold: Callable[[Path, str], Holder]
) -> None:
    database = Database(sqlite_url)
    event = deploy_fake_event(database, tmp_path)
    work = event.ramp.work_dir
    dead = [hold(work / "bundles", MAKING), hold(work / "scratch", "step-")]
    live = hold(work / "bundles", MAKING)
    for holder in dead:
        holder.kill()
    Dispatcher(database, event, is_exiting_when_done=True).run()
    database.dispose()
    assert not any(holder.directory.exists() for holder in dead)
    assert (live.directory / "secret" / "labels").exists()
