"""The supervisor ends a whole tree, whatever dies. Each death is made to happen."""

from __future__ import annotations

import ast
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.evaluation import supervise
from ramp_engine.supervised import SupervisedProcess
from tests.integration.presence import PATIENCE_SECONDS, PRELUDE, Presence

TREE = PRELUDE + "\ndaemon()\nif os.fork() == 0:\n    deaf(); say('child'); sleep()\n"
HANGING_TREE = TREE + "deaf()\nsay('command')\nsleep()\n"

#: Holds the life-line of a tree, and has another child beside it that it does not know of.
ENGINE = """
import os, subprocess, sys
from ramp_engine.supervised import SupervisedProcess
process = SupervisedProcess(
    [sys.executable, "-I", "-c", sys.argv[2], sys.argv[1]],
    log=open(os.devnull, "wb"), environment={}, pass_on=(int(sys.argv[1]),)
)
beside = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], close_fds=False)
os.write(int(sys.argv[1]), f"beside {beside.pid}\\n".encode())
process.wait()
"""


@pytest.fixture
def presence() -> Iterator[Presence]:
    presence = Presence()
    yield presence
    presence.close()


@contextlib.contextmanager
def supervised(
    presence: Presence, code: str, *options: str, python: str = sys.executable
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start the supervisor as a file; give its process and our end of the life-line."""
    theirs, ours = os.pipe()
    command = [python, "-I", "-S", supervise.__file__, "--life-fd", str(theirs), *options, "--"]
    command += [sys.executable, "-I", "-c", code, str(presence.fd)]
    pass_fds = (theirs, presence.fd)
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, pass_fds=pass_fds, stdout=pipe, stderr=pipe)
    os.close(theirs)
    try:
        yield process, ours
    finally:
        with contextlib.suppress(OSError):
            os.close(ours)
        process.wait(PATIENCE_SECONDS)
        for stream in (process.stdout, process.stderr):
            assert stream is not None
            stream.close()


def test_the_tree_ends_when_the_life_line_is_cut(presence: Presence) -> None:
    with supervised(presence, HANGING_TREE) as (process, life):
        presence.wait_for_lines(3)
        os.close(life)
        assert process.wait(PATIENCE_SECONDS) == 137
        presence.wait_for_end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_tree_ends_when_the_supervisor_gets_a_signal(
    presence: Presence, number: signal.Signals
) -> None:
    with supervised(presence, HANGING_TREE) as (process, _):
        presence.wait_for_lines(3)
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == 128 + number
        presence.wait_for_end()


def test_the_tree_ends_at_the_time_limit_and_the_log_says_so(presence: Presence) -> None:
    with supervised(presence, HANGING_TREE, "--timeout", "0.5") as (process, _):
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
        assert process.returncode == 124
        assert out == b""
        assert err == b"time limit of 0.5 s exceeded, the run was ended\n"
        presence.wait_for_end()


#: Says its last words when it gets SIGTERM; what it has started hears nothing of that.
CAREFUL_TREE = PRELUDE + (
    "def finish(*_):\n    say('finishes')\n    os._exit(0)\n"
    "signal.signal(signal.SIGTERM, lambda *_: say('disturbed'))\n"
    "if os.fork() == 0: say('child'); sleep()\n"
    "signal.signal(signal.SIGTERM, finish)\n"
    "say('command')\n"
    "sleep()\n"
)


@pytest.mark.parametrize("is_timed", [True, False])
def test_the_command_alone_may_finish_within_its_grace(presence: Presence, is_timed: bool) -> None:
    options = ["--grace", "60", *(["--timeout", "1"] if is_timed else [])]
    with supervised(presence, CAREFUL_TREE, *options) as (process, _):
        presence.wait_for_lines(2)
        if not is_timed:
            process.terminate()
        assert process.wait(PATIENCE_SECONDS) == (124 if is_timed else 143)
        presence.wait_for_end()
    said = [line.split()[0] for line in presence.lines]
    assert sorted(said) == ["child", "command", "finishes"]


def test_who_does_not_finish_within_the_grace_is_killed(presence: Presence) -> None:
    options = ("--grace", "0.3", "--timeout", "0.5")
    with supervised(presence, HANGING_TREE, *options) as (process, _):
        assert process.wait(PATIENCE_SECONDS) == 124
        presence.wait_for_end()


def test_the_end_of_the_life_line_ends_the_grace(presence: Presence) -> None:
    stubborn = PRELUDE + "signal.signal(15, lambda *_: say('asked'))\nsay('command')\nsleep()\n"
    with supervised(presence, stubborn, "--grace", "3600") as (process, life):
        presence.wait_for_lines(1)
        process.terminate()
        presence.wait_for_lines(2)
        os.close(life)
        assert process.wait(PATIENCE_SECONDS) == 143
        presence.wait_for_end()


def test_a_stopped_command_is_not_waited_for_longer_than_its_grace(presence: Presence) -> None:
    stopping = PRELUDE + "say('command')\nos.kill(os.getpid(), signal.SIGSTOP)\n"
    with supervised(presence, stopping, "--timeout", "0.5", "--grace", "0.3") as (process, _):
        assert process.wait(PATIENCE_SECONDS) == 124
        presence.wait_for_end()


def test_what_the_command_leaves_behind_ends_with_it(presence: Presence) -> None:
    with supervised(presence, TREE + "sys.exit(3)\n") as (process, _):
        assert process.wait(PATIENCE_SECONDS) == 3
        presence.wait_for_end()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("", 0),
        ("import sys; sys.exit(70)", 70),
        ("import os; os.kill(os.getpid(), 11)", 128 + 11),
        ("import os; os.kill(os.getpid(), 9)", 137),
    ],
)
def test_the_exit_code_is_the_commands(presence: Presence, code: str, expected: int) -> None:
    with supervised(presence, code) as (process, _):
        assert process.wait(PATIENCE_SECONDS) == expected


def test_stopped_processes_are_ended_too(presence: Presence) -> None:
    stopping = PRELUDE + "say('command')\nos.kill(os.getpid(), signal.SIGSTOP)\n"
    with supervised(presence, stopping, "--timeout", "0.5") as (process, _):
        assert process.wait(PATIENCE_SECONDS) == 124
        presence.wait_for_end()


def test_a_fork_bomb_is_caught_up_with(presence: Presence) -> None:
    """Some hundred processes, four of which fork and die faster than anybody can count them."""
    bomb = PRELUDE + (
        "for _ in range(100):\n"
        "    if os.fork() == 0: deaf(); sleep()\n"
        "for _ in range(4):\n"
        "    if os.fork() == 0:\n"
        "        os.setsid()\n"
        "        while True:\n"
        "            if os.fork(): os._exit(0)\n"
        "say('command')\n"
        "sleep()\n"
    )
    with supervised(presence, bomb) as (process, life):
        presence.wait_for_lines(1)
        os.close(life)
        assert process.wait(PATIENCE_SECONDS) == 137
        presence.wait_for_end()


def test_orphans_that_end_meanwhile_leave_no_zombies(presence: Presence) -> None:
    orphans = PRELUDE + (
        "for _ in range(20):\n"
        "    if os.fork() == 0:\n"
        "        if os.fork() == 0: say('orphan')\n"
        "        os._exit(0)\n"
        "    os.wait()\n"
        "say('command')\n"
        "sleep()\n"
    )
    with supervised(presence, orphans) as (process, _):
        presence.wait_for_lines(21)
        assert eventually(lambda: len(list(supervise.descendants(process.pid))) == 1)


def test_a_command_that_does_not_exist_is_told(presence: Presence, tmp_path: Path) -> None:
    log = (tmp_path / "log").open("w+b")
    process = SupervisedProcess([str(tmp_path / "missing")], log=log, environment={})
    assert process.wait(PATIENCE_SECONDS)
    assert process.returncode == 127
    assert b"cannot be started: No such file" in (tmp_path / "log").read_bytes()
    process.end()
    log.close()


def test_a_life_line_that_is_not_open_is_an_error_of_usage() -> None:
    command = [sys.executable, "-I", "-S", supervise.__file__, "--life-fd", "987", "--", "true"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"987 is not open" in done.stderr


def test_the_tree_ends_when_the_engine_is_killed(presence: Presence) -> None:
    """With SIGKILL, and although another child of the engine lives on."""
    command = [sys.executable, "-c", ENGINE, str(presence.fd), HANGING_TREE]
    engine = subprocess.Popen(command, pass_fds=(presence.fd,))
    lines = presence.wait_for_lines(4)
    (beside,) = (int(line.split()[1]) for line in lines if line.startswith("beside"))
    try:
        engine.kill()
        engine.wait()
        presence.close_ours()
        os.kill(beside, 0)
        assert eventually(lambda: not any(map(is_alive, pids(lines) - {beside})))
    finally:
        os.kill(beside, signal.SIGKILL)
    presence.wait_for_end()


def test_end_ends_also_a_supervisor_that_was_stopped(presence: Presence) -> None:
    with Path(os.devnull).open("wb") as log:
        process = hanging(presence, log)
        presence.wait_for_lines(3)
        os.kill(process.pid, signal.SIGSTOP)
        assert process.end()
        assert process.end(), "it may be called again"
    assert process.returncode == 128 + signal.SIGTERM
    presence.wait_for_end()


def test_the_end_of_a_supervised_process_is_announced(presence: Presence) -> None:
    ended = threading.Event()
    with Path(os.devnull).open("wb") as log:
        command = [sys.executable, "-I", "-c", "import sys; sys.exit(5)"]
        process = SupervisedProcess(command, log=log, environment={}, on_end=ended.set)
        assert ended.wait(PATIENCE_SECONDS)
    assert (process.returncode, process.killed_by) == (5, None)
    process.end()


def test_the_death_of_the_supervisor_itself_is_told(presence: Presence) -> None:
    """The command dies with it."""
    with Path(os.devnull).open("wb") as log:
        code = PRELUDE + "deaf(); say('command'); sleep()"
        process = SupervisedProcess(
            [sys.executable, "-I", "-c", code, str(presence.fd)],
            log=log,
            environment={},
            pass_on=(presence.fd,),
        )
        presence.wait_for_lines(1)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(PATIENCE_SECONDS)
    assert (process.returncode, process.killed_by) == (137, signal.SIGKILL)
    presence.wait_for_end()
    process.end()


def test_descendants_are_found_without_the_kernels_children_file() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        assert child.pid in supervise._children_by_parent()[os.getpid()]
        assert child.pid in supervise.descendants(os.getpid())


def test_the_supervisor_is_written_for_python_3_9() -> None:
    ast.parse(Path(supervise.__file__).read_text(), feature_version=(3, 9))


def hanging(presence: Presence, log: object) -> SupervisedProcess:
    return SupervisedProcess(
        [sys.executable, "-I", "-c", HANGING_TREE, str(presence.fd)],
        log=log,  # type: ignore[arg-type]
        environment={},
        pass_on=(presence.fd,),
    )


def pids(lines: list[str]) -> set[int]:
    return {int(line.split()[1]) for line in lines}


def is_alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def eventually(condition: object, seconds: float = PATIENCE_SECONDS) -> bool:
    """Look every few milliseconds whether something has come true that nobody announces."""
    never = threading.Event()
    for _ in range(int(seconds / 0.01)):
        if condition():  # type: ignore[operator]
            return True
        never.wait(0.01)
    return False
