"""Run code in a confined process, at each level and for each kind of caller, and hear of it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import ramp_engine.evaluation
from tests.integration.presence import PATIENCE_SECONDS
from tests.open_environment import open_python

NOBODY = 65534
PACKAGE = Path(ramp_engine.evaluation.__file__).parent
SITE = sysconfig.get_paths()["purelib"]

#: Plays the parent: forks, has the child confine itself and run the code, answers its wishes.
HOST = """
import json, os, socket, sys, traceback
job = json.loads(sys.argv[1])
sys.path.insert(0, job["room"])
from evaluation.confine import Confinement, enter
ours, theirs = socket.socketpair()
status, write_status = os.pipe()
heard, tell = os.pipe()
answer, reply = os.pipe()
os.dup(os.open(job["room"], os.O_RDONLY))  # nothing for the child
os.dup(os.open(job["secret"], os.O_RDONLY))
def say(value):
    os.write(tell, (json.dumps(value) + "\\n").encode())
def release():
    say("please release")
    os.read(answer, 100)
def outcome(function, *arguments):
    try:
        return ["done", repr(function(*arguments))]
    except OSError as error:
        return [type(error).__name__, error.errno]
pid = os.fork()
if pid == 0:
    ours.close()
    code = 70
    try:
        keep = [tell, answer, *job["keep"]]
        enter(Confinement(**job["plan"]), theirs.detach(), write_status, keep)
        os.environ.update(job["environment"])
        exec(compile(job["code"], "<confined>", "exec"))
        code = 0
    except SystemExit as error:
        code = error.code
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
for number in (theirs.fileno(), write_status, tell, answer, *job["keep"]):
    os.close(number)
print(json.dumps(pid), flush=True)
for line in os.fdopen(heard):
    print(line, end="", flush=True)
    if json.loads(line) == "please release":
        assert ours.recv(100) == b"mounted\\n"
        ours.sendall(b"release\\n")
        assert ours.recv(100) == b"released\\n"
        os.write(reply, b"go")
told = os.read(status, 4)
print(json.dumps([os.waitpid(pid, 0)[1], int.from_bytes(told, sys.byteorder)]), flush=True)
"""


@dataclass(frozen=True)
class Variant:
    """A level, and who asks for it."""

    level: str
    is_root: bool

    @property
    def name(self) -> str:
        return f"{self.level}-{'root' if self.is_root else 'user'}"

    def caller(self) -> dict[str, Any]:
        """Return how `subprocess` starts the caller."""
        drops = os.geteuid() == 0 and not self.is_root
        return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if drops else {}

    def identity(self) -> dict[str, int]:
        return {"uid": NOBODY, "gid": NOBODY} if self.is_root else {}

    def interpreter(self) -> str:
        """Return an interpreter that whoever runs the code may run."""
        if self.is_root and self.level == "namespaces":
            return sys.executable
        return str(open_python())


@cache
def refusal(variant: Variant) -> str:
    """Return why this machine does not offer a level to a caller; nothing when it does."""
    if variant.is_root and os.geteuid() != 0:
        return "the tests do not run as root"
    options = [f"--{name}={value}" for name, value in variant.identity().items()]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        package = shutil.copytree(PACKAGE, Path(folder, "evaluation"))
        file = str(package / "confine.py")
        command = [variant.interpreter(), "-I", "-S", file, "probe", *options]
        found = json.loads(
            subprocess.run(command, cwd="/", stdout=-1, check=True, **variant.caller()).stdout
        )
    refused = {entry["level"]: entry["reason"] for entry in found["refused"]}
    return refused.get(variant.level, "")


@dataclass(frozen=True)
class Answer:
    """What came of it."""

    said: list[Any]  #: what the code has said
    status: int  #: of the process that was forked, as of ``os.waitpid``
    told: int  #: the status on the pipe
    errors: str  #: stderr

    @property
    def only(self) -> Any:
        assert len(self.said) == 1, self.errors
        return self.said[0]


class Room:
    """Folders for one test, open to whoever is confined."""

    def __init__(self, variant: Variant) -> None:
        self.variant = variant
        self.path = Path(tempfile.mkdtemp(prefix="ramp-room-", dir="/tmp"))
        self.path.chmod(0o755)
        shutil.copytree(PACKAGE, self.path / "evaluation")
        for name in ("read", "write", "hidden"):
            (self.path / name).mkdir(mode=0o755)
        self.secret = self.path / "secret.txt"
        for file in (self.path / "read/shown.txt", self.path / "hidden/X.txt", self.secret):
            file.write_text(f"this is {file.name}\n")
            file.chmod(0o644)
        if os.geteuid() == 0:
            for name in ("write", "hidden", "read"):  # only confinement keeps them from writing
                os.chown(self.path / name, NOBODY, NOBODY)

    def close(self) -> None:
        shutil.rmtree(self.path)

    def start(
        self,
        code: str,
        keep: tuple[int, ...] = (),
        supervisor: Sequence[str] = (),
        pass_on: tuple[int, ...] = (),
        **changes: Any,
    ) -> subprocess.Popen[str]:
        """Start a host; it prints the pid of the child, what the code says, and both statuses."""
        python = self.variant.interpreter()
        read = [str(self.path / "read"), str(self.path / "evaluation"), *_folders_of(python)]
        plan = {
            "level": self.variant.level,
            **self.variant.identity(),
            "read": read,
            "write": [str(self.path / "write")],
            "released": [str(self.path / "hidden")],
            "tmp_mb": 64,
            **changes,
        }
        scratch = str(self.path / "write")
        environment = {"HOME": scratch, "MPLCONFIGDIR": scratch}
        if self.variant.level != "namespaces":
            environment["TMPDIR"] = scratch
        job = {
            "plan": plan, "code": f"ROOM = {str(self.path)!r}\n{code}", "keep": keep,
            "room": str(self.path), "secret": str(self.secret), "environment": environment,
        }  # fmt: skip
        return subprocess.Popen(
            [*supervisor, python, "-s", "-c", HOST, json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=(*keep, *pass_on),
            cwd="/",
            env={"SECRET_OF_THE_ENGINE": "no", "PATH": os.environ["PATH"]},
            **self.variant.caller(),
        )

    def run(self, code: str, **changes: Any) -> Answer:
        """Run code to its end. It may call ``say``, ``release`` and ``outcome``.

        A supervisor ends what is left: not every level does.
        """
        theirs, ours = os.pipe()
        file, seconds = str(self.path / "evaluation/supervise.py"), str(PATIENCE_SECONDS)
        python = self.variant.interpreter()
        options = ["--life-fd", str(theirs), "--timeout", seconds, "--"]
        supervisor = [python, "-I", "-S", file, *options]
        process = self.start(code, supervisor=supervisor, pass_on=(theirs,), **changes)
        os.close(theirs)
        try:
            out, errors = process.communicate(timeout=2 * PATIENCE_SECONDS)
        finally:
            os.close(ours)
            process.communicate()
        print(errors)  # for the report of a test that fails
        lines = [json.loads(line) for line in out.splitlines()]
        assert len(lines) >= 2, errors
        return Answer(lines[1:-1], *lines[-1], errors=errors)


def _folders_of(python: str) -> list[str]:
    """Return where an interpreter and its packages lie, besides the system's own folders."""
    if python != sys.executable:
        return [str(Path(python).parents[1])]
    return [path for path in (SITE, sys.prefix, sys.base_prefix) if path != "/usr"]


def open_room(variant: Variant) -> Iterator[Room]:
    """Open a room where the machine offers the level; say why not otherwise."""
    reason = refusal(variant)
    if reason:
        pytest.skip(f"this machine does not offer {variant.name}: {reason}")
    room = Room(variant)
    try:
        yield room
    finally:
        room.close()
