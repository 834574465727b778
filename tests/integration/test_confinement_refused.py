"""What is refused while a fold is set up is ours: told with its step and what to do."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.evaluation import linux
from ramp_engine.fold_outputs import failure_message
from ramp_engine.outcome import Facts, Outcome, judge
from tests.integration.confined import NOBODY
from tests.kits.evaluation import EVALUATION, Event, bundled_event
from tests.kits.light import lighten
from tests.open_environment import open_python
from tests.refusals import filtering

IS_ROOT = os.geteuid() == 0
NUMBERS = {
    "unshare": {"x86_64": 272, "aarch64": 97},
    "mount": {"x86_64": 165, "aarch64": 40},
    "pivot_root": {"x86_64": 155, "aarch64": 41},
    "setresuid": {"x86_64": 117, "aarch64": 147},
    "capset": {"x86_64": 126, "aarch64": 91},
    "setrlimit": {"x86_64": 302, "aarch64": 261},
    "open_tree": {"x86_64": 428, "aarch64": 428},
    "move_mount": {"x86_64": 429, "aarch64": 429},
    "seccomp": {"x86_64": 317, "aarch64": 277},
}


@dataclass(frozen=True)
class End:
    """How a run of the fold step ended."""

    code: int
    error: dict[str, Any]
    log: str

    def check(self, step: str, todo: str) -> None:
        """See to it that the organiser reads the step and what to do, and nobody else is blamed."""
        assert self.code == 3, self.log
        assert step in self.error["message"]
        assert todo in self.error["hint"]
        for told in (self.error["message"], self.error["hint"]):
            assert "\n" not in told
            assert told in self.log
        message = failure_message({"error": self.error}, self.code)
        verdict = judge(Facts(2, returncode=self.code, error_msg=message))
        assert verdict.outcome is Outcome.CRASHED
        assert step in str(verdict.error)


@pytest.fixture(scope="module")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    lighten(event.kit)
    assert event.prepare().code == 0
    return event


@pytest.fixture
def fold(event: Event, tmp_path: Path) -> Callable[..., End]:
    """Run the starting kit at the strongest level, with something that is in its way."""

    def run(prelude: str = "", **sandbox: Any) -> End:
        submission = tmp_path / "submission"
        if not submission.exists():
            shutil.copytree(event.kit / "submissions" / "starting_kit", submission)
        identity = {"uid": NOBODY, "gid": NOBODY} if IS_ROOT else {}
        options = {
            "--bundle": event.bundle / "public",
            "--submission": submission,
            "--output": tmp_path / "output",
            "--scratch": tmp_path / "work",
            "--private-log": tmp_path / "private.log",
            "--result": tmp_path / "result.json",
            "--sandbox": json.dumps({"level": "namespaces", **identity, **sandbox}),
        }
        words = [str(word) for option in options.items() for word in option]
        code = f"import os, sys\n{prelude}\n"
        code += "os.execv(sys.executable, [sys.executable, '-I', *sys.argv[1:]])"
        done = subprocess.run(
            [open_python(), "-I", "-c", code, str(EVALUATION), "fold", *words],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        result = json.loads((tmp_path / "result.json").read_text())
        return End(done.returncode, result.get("error", {}), done.stdout.decode())

    return run


@dataclass(frozen=True)
class Refusal:
    """A system call that is refused, and what is told of it."""

    call: str
    error: int
    step: str
    todo: str


REFUSALS = [
    Refusal("unshare", errno.EPERM, "cannot make namespaces: Operation not perm", "seccomp"),
    Refusal("unshare", errno.ENOSPC, "cannot make namespaces: No space", "user.max_"),
    Refusal("mount", errno.EPERM, "cannot make mounts private: Operation not permitted", "seccomp"),
    Refusal("open_tree", errno.ENOSYS, "cannot show /", "too old"),
    Refusal("move_mount", errno.ENOMEM, "cannot show /", "lower n_workers"),
    Refusal("pivot_root", errno.EPERM, "cannot change the root: Operation not perm", "seccomp"),
    Refusal("capset", errno.EPERM, "capabilities", "seccomp"),
    Refusal("setrlimit", errno.EPERM, "cannot limit ", "seccomp"),
]


@pytest.mark.parametrize("one", REFUSALS, ids=lambda one: f"{one.call}-{one.error}")
def test_a_refused_step_is_told_with_what_to_do(fold: Callable[..., End], one: Refusal) -> None:
    number = NUMBERS[one.call][linux.machine()]
    fold(filtering({number: one.error})).check(one.step, one.todo)


@pytest.mark.skipif(not IS_ROOT, reason="only root becomes somebody else")
def test_an_identity_that_is_refused_is_told(fold: Callable[..., End]) -> None:
    number = NUMBERS["setresuid"][linux.machine()]
    fold(filtering({number: errno.EAGAIN})).check(f"cannot become user {NOBODY}", "lower n_workers")


def test_a_read_path_that_has_vanished_since_is_told(
    fold: Callable[..., End], tmp_path: Path
) -> None:
    gone = tmp_path / "word_vectors"
    fold(read=[str(gone)]).check(f"is gone: {gone}", "extra_read_paths")


@pytest.mark.skipif(not IS_ROOT, reason="the same user is outside and inside")
def test_a_user_who_may_not_read_the_submission_is_told(
    fold: Callable[..., End], event: Event, tmp_path: Path
) -> None:
    submission = tmp_path / "submission"
    shutil.copytree(event.kit / "submissions" / "starting_kit", submission)
    submission.chmod(0o700)
    fold().check(f"user {NOBODY} cannot read {submission}", "Permit that user to read it")


@pytest.mark.skipif(not IS_ROOT, reason="only root mounts a small disk")
def test_a_disk_without_room_for_a_folder_is_told(fold: Callable[..., End], tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    small = f"""
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(0x20000) == 0
assert libc.mount(b"none", b"/", None, ctypes.c_ulong(0x44000), None) == 0
options = b"nr_inodes=1,mode=0755"
assert libc.mount(b"tmpfs", {os.fsencode(work)!r}, b"tmpfs", ctypes.c_ulong(0), options) == 0
"""
    step = "cannot make the folders of a fold: No space left on device"
    fold(small).check(step, f"Make room on the disk of {work}")


def test_nothing_in_the_way_is_nothing_told(fold: Callable[..., End]) -> None:
    end = fold()
    assert (end.code, end.error) == (0, {}), end.log
