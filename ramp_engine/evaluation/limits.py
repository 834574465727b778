"""What a fold may use, and how it is told that it used more.

A limit of None does not limit. MB are 2**20 bytes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Optional

from .plan import LEVELS

#: The longest path that the kernel takes [bytes].
MAX_PATH = 4096

_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What one fold, with all its processes, may use."""

    fold_seconds: Optional[float] = None  #: wall time
    cpu_seconds: Optional[float] = None  #: of all processes together
    memory_mb: Optional[float] = None  #: of all processes together
    processes: Optional[float] = None  #: at one time
    threads: Optional[float] = None  #: of all processes together, at one time
    file_mb: Optional[float] = None  #: size of one file
    output_mb: Optional[float] = None  #: of all files together, as disk space
    n_files: Optional[float] = None  #: files and folders together
    log_mb: Optional[float] = None  #: of each log; head and tail are kept, and nothing fails
    open_files: Optional[float] = None  #: of one process
    tmp_mb: Optional[float] = None  #: size of /tmp and of /dev/shm, where they are its own

    @property
    def log_bytes(self) -> Optional[int]:
        """Size of a log [bytes]."""
        return None if self.log_mb is None else int(self.log_mb * _MB)

    @property
    def n_tasks(self) -> Optional[int]:
        """Return the most processes and threads together that the kernel lets a fold have.

        It is a last barrier far above the limit: who reaches the limit shall be told so.
        """
        allowed = self.threads or self.processes
        return None if allowed is None else 4 * int(allowed) + 64

    def rlimits(self) -> dict[str, int]:
        """Return what the kernel can hold for each process by itself.

        One process cannot have more CPU time than all of them; the kernel ends it a second after
        the watch should have.
        """
        wanted = {
            "NOFILE": self.open_files,
            "FSIZE": None if self.file_mb is None else self.file_mb * _MB,
            "CPU": None if self.cpu_seconds is None else math.ceil(self.cpu_seconds) + 1,
            "CORE": 0,
        }
        return {name: int(value) for name, value in wanted.items() if value is not None}


@dataclass(frozen=True)
class Sandbox:
    """How a fold is confined, as the engine asks for it."""

    level: str = "none"  #: one of `plan.LEVELS`
    uid: Optional[int] = None  #: to become; None: as it is
    gid: Optional[int] = None
    read: tuple[str, ...] = ()  #: further paths that may be read
    allow_network: bool = False
    limits: Limits = field(default_factory=Limits)
    devices: tuple[str, ...] = ()  #: device nodes that may be opened


def parse_sandbox(text: str) -> Sandbox:
    """Read the JSON of ``--sandbox``.

    Parameters
    ----------
    text : str
        An object with the fields of `Sandbox`; what is left out has its default.

    Raises
    ------
    ValueError
        It is something else; the message says what.
    """
    content = _known(json.loads(text), Sandbox, "sandbox")
    limits = _known(content.pop("limits", {}), Limits, "limits")
    for name, value in limits.items():
        if value is not None and not (_is_number(value) and value > 0):
            raise ValueError(f"limits: {name} is {value!r}, not a positive number")
    if content.get("level", "none") not in LEVELS:
        raise ValueError(f"sandbox: the level {content['level']!r} is none of {', '.join(LEVELS)}")
    read = tuple(str(path) for path in content.pop("read", ()))
    devices = tuple(str(path) for path in content.pop("devices", ()))
    return Sandbox(read=read, devices=devices, limits=Limits(**limits), **content)


def _known(content: Any, kind: type[Any], what: str) -> dict[str, Any]:
    if not isinstance(content, Mapping):
        raise ValueError(f"{what}: {content!r} is no object")
    unknown = sorted(set(content) - {one.name for one in fields(kind)})
    if unknown:
        raise ValueError(f"{what}: unknown: {', '.join(unknown)}")
    return dict(content)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


@dataclass(frozen=True)
class Excess:
    """A limit that a fold has exceeded."""

    limit: str  #: a field of `Limits`; ``memory`` for its memory, ``path_length`` for `MAX_PATH`
    figure: float  #: what was found
    allowed: float
    in_files: float = 0.0  #: so much of ``memory`` is files in memory

    @property
    def unit(self) -> str:
        """Return the unit of both numbers."""
        return _KINDS[self.limit][1]

    def to_json(self, phase: str) -> dict[str, Any]:
        """Return what ``limit.json`` says.

        Parameters
        ----------
        phase : str
            What was going on, as in `failure.DOING`.
        """
        return {
            "limit": self.limit,
            "figure": round(float(self.figure), 1),
            "allowed": float(self.allowed),
            "unit": self.unit,
            "phase": phase,
        }

    def sentence(self, fold: int, phase: str) -> str:
        """Return the line for the participant."""
        unit, scale = self.unit, 1.0
        if unit == "MB" and self.allowed >= 1024:
            unit, scale = "GB", 1024.0
        figure, allowed = _pair(self.figure / scale, self.allowed / scale)
        amounts = f"{figure} {unit} of {allowed} {unit}" if unit else f"{figure} of {allowed}"
        return f"{_KINDS[self.limit][0]}: {amounts} in fold {fold}, {phase}{self._of_which()}\n"

    def _of_which(self) -> str:
        """Tell of files in memory where they are a tenth or more: few know that they count."""
        if self.in_files < max(1.0, self.figure / 10):
            return ""
        is_large = self.in_files >= 1024
        amount = f"{self.in_files / 1024:.1f} GB" if is_large else f"{self.in_files:.0f} MB"
        return f", of which {amount} in /tmp and /dev/shm"


def _pair(figure: float, allowed: float) -> tuple[str, str]:
    """Round both, but never so that more does not look like more."""
    for digits in range(1, 6):
        shown = f"{figure:.{digits}f}", f"{allowed:.{digits}f}"
        if shown[0] != shown[1] or figure <= allowed:
            break
    return _plain(shown[0]), _plain(shown[1])


def _plain(number: str) -> str:
    return number.rstrip("0").rstrip(".")


_KINDS = {
    "memory": ("out of memory", "MB"),
    "fold_seconds": ("out of time", "s"),
    "cpu_seconds": ("out of CPU time", "s"),
    "processes": ("too many processes", ""),
    "threads": ("too many threads", ""),
    "file_mb": ("a file is too large", "MB"),
    "output_mb": ("too much output", "MB"),
    "n_files": ("too many files", ""),
    "path_length": ("a path is too long", "bytes"),
}
