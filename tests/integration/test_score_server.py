"""A process that scores one submission after the other shows nothing of one to the next."""

from __future__ import annotations

import os
import select
import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from ramp_engine.evaluation import supervise
from ramp_engine.evaluation.runner import Runners
from ramp_engine.step_server import ServedProcess, StepCall, StepServer
from ramp_engine.step_servers import StepServers, step_servers
from tests.integration.mortal import wait_until
from tests.integration.presence import PATIENCE_SECONDS
from tests.kits.evaluation import Event, light_event, run
from tests.open_environment import open_python

#: What the kit of these tests does besides, as the environment of a run tells it.
PROBLEM = """
import builtins, logging, os, signal, subprocess, sys, threading, time, warnings
import numpy as np
import counted
from spaced import counted as other

counted.n += 1
other.n += 1
warnings.warn("a warning")
logging.getLogger().addHandler(logging.StreamHandler(sys.stdout))
logging.getLogger().warning("a log record")
sys.path.append("/mark")
print("SEES", counted.n, other.n, sys.path.count("/mark"), np.random.rand(),
      np.geterr()["divide"], os.environ.get("MARK"))
if "MISDEED" in os.environ:  # not in the server
    np.seterr(divide="raise")
os.environ["MARK"] = "left"

def misbehave(what):
    if what == "hangs":
        time.sleep(3600)
    elif what == "dies":
        os._exit(0)
    elif what == "fails":
        raise RuntimeError("planted")
    elif what == "a process":
        builtins.left = subprocess.Popen(["sleep", "3600"])
    elif what == "a thread":
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    elif what == "an alarm":
        signal.alarm(3600)
    elif what == "a file":
        builtins.left = open(os.devnull)
    elif what == "memory":
        builtins.left = b"x" * (300 << 20)
    elif what == "waits":
        open(os.environ["GATE"]).read()

misbehave(os.environ.get("MISDEED"))
"""


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    """An event whose starting kit has run; whoever imports its problem leaves traces.

    Its folder is reached by a link, as on another disk.
    """
    root = tmp_path_factory.mktemp("disk") / "event"
    root.symlink_to(tmp_path_factory.mktemp("event"))
    event = light_event(root)
    problem = event.kit / "problem.py"
    problem.write_text(problem.read_text() + PROBLEM)
    imports = event.kit / "external_imports"
    for folder in (imports, imports / "spaced"):  # the latter is a package without a file
        folder.mkdir(exist_ok=True)
        (folder / "counted.py").write_text("n = 0\n")
    assert event.prepare().code == 0
    assert event.fold(event.kit / "submissions" / "starting_kit").code == 0
    return event


@pytest.fixture(scope="module")
def servers(event: Event) -> Iterator[StepServers]:
    scratch = event.root / "servers"
    with step_servers(open_python(), "score", scratch, lambda *_: dict(os.environ)) as held:
        yield held


class Desk:
    """Where submissions are scored."""

    def __init__(self, event: Event, servers: StepServers, root: Path) -> None:
        self.event = event
        self.servers = servers
        self.root = root
        self.n = 0

    @property
    def server(self) -> StepServer:
        server = self.servers.prepare(self.event.bundle / "public")
        assert server is not None
        return server

    def start(self, misdeed: str = "", seconds: float = PATIENCE_SECONDS) -> ServedProcess:
        """Begin to score the starting kit, in a folder ``scored/<n>``."""
        self.n += 1
        cwd = self.root / str(self.n)
        cwd.mkdir()
        predictions = self.event.output(Path("starting_kit"))
        environment = {"MISDEED": misdeed, "GATE": str(self.root / "gate")}
        with (cwd / "log").open("wb") as log:
            call = StepCall(
                self.event.score_arguments(f"{self.root.name}_{self.n}", predictions),
                log,
                environment,
                cwd,
                seconds,
            )
            run = self.servers.start(self.event.bundle / "public", call)
        assert run is not None
        return run

    def score(self, misdeed: str = "", seconds: float = PATIENCE_SECONDS) -> tuple[int, int]:
        """Score; give pid and exit code."""
        run = self.start(misdeed, seconds)
        try:
            assert run.wait(PATIENCE_SECONDS)
            assert run.returncode is not None
            return run.pid, run.returncode
        finally:
            run.end()

    def log(self, n: int) -> str:
        return (self.root / str(n) / "log").read_text()

    def files(self, n: int) -> dict[str, bytes]:
        scored = self.event.root / "scored" / f"{self.root.name}_{n}"
        return contents(scored)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def desk(event: Event, servers: StepServers, tmp_path: Path) -> Desk:
    return Desk(event, servers, tmp_path)


def test_one_process_scores_submissions_that_see_nothing_of_each_other(desk: Desk) -> None:
    pids = {desk.score() for _ in range(4)}
    assert len(pids) == 1
    assert {code for _, code in pids} == {0}
    first = desk.log(1)
    assert first.count("SEES 1 1 ") == first.count(" warn None") == 1
    assert "a log record" in first
    assert "UserWarning: a warning" in first
    assert {desk.log(n) for n in (2, 3, 4)} == {first}


def test_it_leaves_the_files_of_one_that_starts_cold(desk: Desk, event: Event) -> None:
    predictions = event.output(Path("starting_kit"))
    cold = run(event.score_arguments("cold", predictions), desk.root / "cold.log")
    assert cold.code == 0, cold.log
    desk.score()
    desk.score()
    for n in (1, 2):
        assert desk.files(n) == contents(event.root / "scored" / "cold")


@pytest.mark.parametrize(
    ("misdeed", "expected"),
    [("hangs", 124), ("dies", 0), ("fails", 3)]
    + [(left, 0) for left in ("a process", "a thread", "an alarm", "a file", "memory")],
)
def test_what_fails_or_leaves_something_is_the_last_that_its_process_scores(
    desk: Desk, misdeed: str, expected: int
) -> None:
    before, _ = desk.score()
    pid, code = desk.score(misdeed, 2.0 if misdeed == "hangs" else PATIENCE_SECONDS)
    assert (pid, code) == (before, expected)
    after, code = desk.score()
    assert after != pid
    assert code == 0
    assert desk.log(3) == desk.log(1)
    assert list(supervise.descendants(pid)) == []


def test_two_that_are_scored_at_once_have_a_process_each(desk: Desk) -> None:
    os.mkfifo(desk.root / "gate")
    slow = desk.start("waits")
    try:
        pid, code = desk.score()
        assert code == 0
        assert slow.pid != pid
        assert slow.returncode is None
        (desk.root / "gate").write_text("go on")
        assert slow.wait(PATIENCE_SECONDS)
        assert slow.returncode == 0
    finally:
        slow.end()


def test_what_is_cancelled_ends_and_the_next_one_is_scored(desk: Desk) -> None:
    os.mkfifo(desk.root / "gate")
    slow = desk.start("waits")
    assert slow.end()
    assert slow.returncode == 143
    assert desk.score()[1] == 0


def test_a_process_that_is_killed_while_it_waits_does_no_harm(desk: Desk) -> None:
    pid, _ = desk.score()
    os.kill(pid, 9)
    while Path(f"/proc/{pid}").exists() and b"Z" not in stat(pid):
        threading.Event().wait(0.02)
    assert desk.score()[1] == 0


def test_what_is_cancelled_as_it_ends_takes_no_other_with_it(desk: Desk) -> None:
    os.mkfifo(desk.root / "gate")
    server, run = desk.server, desk.start("waits")
    with (desk.root / "gate").open("w") as gate:  # which the child has opened by now, too
        (child,) = supervise.descendants(run.pid)
        os.kill(run.pid, signal.SIGSTOP)
        gate.write("go on")
    log = str(desk.root / "1" / "log")
    while str(Path(f"/proc/{child}/fd/1").readlink()) == log or b"S" not in stat(child):
        threading.Event().wait(0.02)
    assert run.end()  # which lets its supervisor go on
    assert desk.score()[1] == 0
    assert desk.server is server


def test_a_server_outlives_a_process_that_dies_when_it_is_forked(tmp_path: Path) -> None:
    class Poll:
        """Is told of a process when that has died."""

        def register(self, runner: socket.socket, _events: int) -> None:
            assert runner.recv(1) == b""

        def unregister(self, runner: socket.socket) -> None:
            pass

    def die() -> None:
        (tmp_path / "pid").write_text(str(os.getpid()))
        os._exit(0)

    runners = Runners(cast("select.poll", Poll()), tmp_path, die)
    assert runners.give(b"{}", ())
    runners.hear(next(iter(runners.places)))
    assert not runners.places
    os.waitpid(int((tmp_path / "pid").read_text()), 0)


def stat(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2]
    except OSError:
        return b"Z"


def test_no_process_is_left_when_the_servers_end(event: Event, tmp_path: Path) -> None:
    scratch = tmp_path / "servers"
    with step_servers(open_python(), "score", scratch, lambda *_: dict(os.environ)) as held:
        desk = Desk(event, held, tmp_path)
        pid, _ = desk.score()
        desk.server.retire()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the process has ended")
