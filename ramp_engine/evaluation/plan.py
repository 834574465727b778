"""What the confinement of one fold is to be, and the error of one that cannot be had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Optional

#: The levels of confinement, strongest first.
LEVELS = ("namespaces", "landlock", "none")


@dataclass(frozen=True)
class Confinement:
    """How a process that runs a participant's code is confined.

    All paths are absolute and exist. Where one lies below another, the deeper one decides.
    """

    level: str  #: one of `LEVELS`
    uid: Optional[int] = None  #: to become when the caller is root; None otherwise
    gid: Optional[int] = None  #: to become when the caller is root; None otherwise
    read: Sequence[str] = ()  #: seen read-only, besides the system's own files
    write: Sequence[str] = ()  #: may be written
    released: Sequence[str] = ()  #: seen read-only after the release; below namespaces always
    devices: Sequence[str] = ()  #: device nodes that may be opened to read and write, as of GPUs
    allow_network: bool = False  #: whether the machine's network is left
    tmp_mb: int = 1024  #: size of /tmp and of /dev/shm, each [MB of 2**20 bytes]; namespaces only
    rlimits: Mapping[str, int] = field(default_factory=dict)  #: "NOFILE": 1024, ...; soft = hard


class ConfinementError(Exception):
    """The confinement that was asked for cannot be had.

    Parameters
    ----------
    message : str
        What was refused, and by what.
    hint : str
        What to install or to allow.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)
