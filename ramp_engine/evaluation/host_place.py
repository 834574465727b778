"""Where everything of ours is on a machine that is reached from elsewhere: one folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .untrusted_files import read_text

_WORD = re.compile(r"[A-Za-z0-9_-]{1,80}")
_HASH = re.compile(r"[0-9a-f]{64}")
#: Names another folder of device nodes than /dev, for tests.
DEVICES = "RAMP_INSTANCE_DEVICES"
#: The size of the file that names the holder.
_HOLDER_BYTES = 128
_FULL = (errno.ENOSPC, errno.EDQUOT)


class HostError(Exception):
    """Something cannot be done here.

    Parameters
    ----------
    kind : str
        ``disk``, ``python``, ``bundle``, ``sandbox``, ``taken``, ``request`` or ``ours``.
    message : str
    hint : str
        What to do about it.
    """

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.hint = hint

    def to_json(self) -> dict[str, str]:
        """Return what stands in an answer."""
        return {"kind": self.kind, "message": self.message, "hint": self.hint}

    @classmethod
    def of(cls, error: OSError) -> HostError:
        """Tell of an error of the system."""
        if error.errno in _FULL:
            return cls("disk", f"the instance's disk is full: {error}", "Give it a larger volume")
        return cls("ours", f"the instance refuses: {error}")


@dataclass(frozen=True)
class HostPlace:
    """The folder, and what is where in it."""

    root: Path
    program: Path = field(init=False)  #: the folder that this module is in
    incoming: Path = field(init=False)  #: what was sent, by its hash
    bundles: Path = field(init=False)
    runs: Path = field(init=False)
    marks: Path = field(init=False)  #: what is to be remembered until the next wiping
    token: Path = field(init=False)  #: for the instance's metadata
    dev: Path = field(init=False)  #: the folder of device nodes
    holder: Path = field(init=False)  #: who may change anything, besides whoever takes it over

    def __post_init__(self) -> None:
        object.__setattr__(self, "program", Path(__file__).absolute().parent)
        for name in ("incoming", "bundles", "runs", "marks", "token", "holder"):
            object.__setattr__(self, name, self.root / name)
        object.__setattr__(self, "dev", Path(os.environ.get(DEVICES, "/dev")))

    def make(self) -> None:
        """Make the folders.

        Raises
        ------
        OSError
            The disk refuses.
        """
        for folder in (self.root, self.incoming, self.bundles, self.runs, self.marks):
            folder.mkdir(mode=0o700, exist_ok=True)

    def take(self, holder: Any) -> None:
        """Let nobody but `holder` change anything from now on; None: whoever asks may.

        Written in place: a full disk takes it all the same, but for the first time.

        Raises
        ------
        OSError
            The disk refuses.
        """
        if holder is None:
            self.holder.unlink(missing_ok=True)
            return
        text = checked({"holder": holder}, "holder", _WORD).encode().ljust(_HOLDER_BYTES)
        descriptor = os.open(self.holder, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.pwrite(descriptor, text, 0)
        finally:
            os.close(descriptor)

    def check_holder(self, holder: Any) -> None:
        """Refuse what somebody asks for who held the machine before; None: nobody in particular.

        A dispatcher that was paused may wake up when another has taken its run over.

        Raises
        ------
        HostError
            It is somebody else's by now.
        """
        found = read_text(self.root, self.holder.name).strip()
        if holder is not None and found not in ("", holder):
            raise HostError("taken", "another dispatcher has taken the instance over")

    def run(self, request: dict[str, Any]) -> Path:
        """Give the folder of the run that a request is about."""
        return self.runs / checked(request, "run", _WORD)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Let one command at a time change anything.

        The command of a connection that broke may still be at work; who repeats it waits. Needs no
        room on the disk.
        """
        folder = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def sent(self, what: Any) -> tuple[Path, str, int]:
        """Give path, hash and size of what was sent.

        Raises
        ------
        HostError
            The request does not say so.
        """
        if not isinstance(what, dict) or not isinstance(what.get("n_bytes"), int):
            raise HostError("request", f"what was sent is not told: {what!r:.200}")
        sha256 = checked(what, "sha256", _HASH)
        return self.incoming / f"{sha256}.tar", sha256, what["n_bytes"]


def checked(request: dict[str, Any], key: str, pattern: re.Pattern[str]) -> str:
    """Take a word out of a request that will be part of a path.

    Raises
    ------
    HostError
        It is something else.
    """
    said = request.get(key)
    if not isinstance(said, str) or not pattern.fullmatch(said):
        raise HostError("request", f"{key} is {said!r:.200}, which is no name")
    return said


def checked_hash(request: dict[str, Any], key: str) -> str:
    """Take a hash out of a request, as `checked`."""
    return checked(request, key, _HASH)


@dataclass(frozen=True)
class Identity:
    """A process, and no other that gets its pid later."""

    pid: int
    started: str  #: clock ticks after boot
    boot: str

    @classmethod
    def of(cls, pid: int) -> Identity:
        """Tell who has a pid now."""
        return cls(pid, _started(pid), _boot())

    @classmethod
    def from_json(cls, said: Any) -> Identity:
        """Read what `to_json` gave; nobody when there is nothing."""
        if not isinstance(said, list) or len(said) != 3:
            return cls(0, "", "")
        return cls(int(said[0]), str(said[1]), str(said[2]))

    def to_json(self) -> list[Any]:
        """Return what can be written."""
        return [self.pid, self.started, self.boot]

    @property
    def is_alive(self) -> bool:
        """Whether the process is there; a zombie is not."""
        return bool(self.started) and self == Identity.of(self.pid)

    def send(self, number: int) -> bool:
        """Send a signal; tell whether the process was there."""
        if not self.is_alive:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)
        return True


def _started(pid: int) -> str:
    """Return when a process began, empty when there is none."""
    text = read_text(Path(f"/proc/{pid}"), "stat")
    words = text[text.rfind(")") + 2 :].split()  # the name may hold anything
    return words[19] if len(words) > 19 and words[0] not in ("Z", "X") else ""


def _boot() -> str:
    return read_text(Path("/proc/sys/kernel/random"), "boot_id").strip()
