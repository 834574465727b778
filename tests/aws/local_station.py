"""An instance without a network: a HOME of its own, in which commands run as subprocesses."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ramp_engine.aws.program import build_program
from ramp_engine.errors import ConnectionLostError, TransportError

PATIENCE_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: bytes
    stderr: bytes


def no_fault(moment: str) -> None:
    """Let everything succeed."""


@dataclass
class LocalConnection:
    """What an SSH connection does, done here; `fault` makes it fail."""

    home: Path  #: the login's
    environment: dict[str, str] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    #: Called with the name of each call as it begins, and with ``NAME done`` before it returns.
    fault: Callable[[str], None] = no_fault

    @contextlib.contextmanager
    def _call(self, name: str) -> Iterator[None]:
        self.calls.append(name)
        self.fault(name)
        yield
        self.fault(f"{name} done")

    def connect(self) -> None:
        with self._call("connect"):
            pass

    def run(
        self, command: Sequence[str], stdin: bytes = b"", *, timeout_seconds: float = 60.0
    ) -> Done:
        op = json.loads(stdin)["op"] if stdin else command[0]
        with self._call(f"run {op}"):
            done = subprocess.run(
                [sys.executable if command[0] == "python3" else command[0], *command[1:]],
                input=stdin,
                capture_output=True,
                cwd=self.home,
                env=self.variables(),
                timeout=timeout_seconds,
                check=False,
            )
            return Done(done.returncode, done.stdout, done.stderr)

    def variables(self) -> dict[str, str]:
        fixed = {"HOME": str(self.home), "PATH": "/usr/bin:/bin", "RAMP_INSTANCE_METADATA": ""}
        return fixed | self.environment

    def put(self, source: Path, target: str, *, timeout_seconds: float) -> None:
        self.put_bytes(source.read_bytes(), target, timeout_seconds=timeout_seconds)

    def put_bytes(self, content: bytes, target: str, *, timeout_seconds: float) -> None:
        path = self.home / target
        with self._call(f"put {path.suffix}"):
            temporary = path.with_name(f".{path.name}.new")
            try:
                temporary.write_bytes(content)
            except OSError as error:
                raise TransportError(str(error), is_full=error.errno == 28) from error
            temporary.rename(path)

    def get(self, source: str, target: Path, *, max_bytes: int, timeout_seconds: float) -> str:
        with self._call("get"):
            path = self.home / source
            if path.is_symlink() or not path.is_file():
                raise TransportError(f"{source} is no regular file")
            if path.stat().st_size > max_bytes:
                raise TransportError(f"{source} is too large")
            shutil.copyfile(path, target)
            return hashlib.sha256(target.read_bytes()).hexdigest()

    def close(self) -> None:
        self.calls.append("close")


def lost(moment: str, times: int = 1) -> Callable[[str], None]:
    """Lose the connection at a moment, so many times."""
    left = [times]

    def fault(now: str) -> None:
        if now == moment and left[0]:
            left[0] -= 1
            raise ConnectionLostError(f"lost at {now}")

    return fault


class Host:
    """The program on an instance, asked without a station."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.root = home / ".ramp"
        (self.root / "incoming").mkdir(parents=True, mode=0o700)
        self.program = self.root / build_program().file_name
        self.program.write_bytes(build_program().content)
        self.connection = LocalConnection(home)

    def ask(self, op: str, **more: Any) -> dict[str, Any]:
        request = json.dumps({"op": op, **more}).encode()
        command = ["python3", "-I", "-S", f".ramp/{self.program.name}"]
        done = self.connection.run(command, request)
        assert done.returncode == 0, done.stderr.decode()
        answer = json.loads(done.stdout)
        assert isinstance(answer, dict)
        return answer

    def send(self, content: bytes) -> dict[str, Any]:
        sha256 = hashlib.sha256(content).hexdigest()
        (self.root / "incoming" / f"{sha256}.tar").write_bytes(content)
        return {"sha256": sha256, "n_bytes": len(content)}


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < until, f"never came: {what}"
        time.sleep(0.02)


def pids_of(home: Path) -> list[int]:
    """List the processes that have this folder in their command or first environment."""
    found = []
    for path in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if path.name.isdigit() and int(path.name) != os.getpid():
                text = (path / "cmdline").read_bytes() + (path / "environ").read_bytes()
                if os.fsencode(home) in text and ") Z " not in (path / "stat").read_text():
                    found.append(int(path.name))
    return found


def end_all(home: Path) -> None:
    """End the processes of a HOME, each by its pid; also when a test has failed."""

    def are_gone() -> bool:
        pids = pids_of(home)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        return not pids

    wait_until(are_gone, "the end of everything")


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """Make a login's folder, whose path is short, as on an instance; nothing of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="ramp-instance-"))
    try:
        yield folder
    finally:
        end_all(folder)
        shutil.rmtree(folder)
