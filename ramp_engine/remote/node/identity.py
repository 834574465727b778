"""Whose program an agent is: an engine's worker may come again with another one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import ramp_engine

__all__ = ["Identity"]


class Identity(NamedTuple):
    """The program of a process."""

    ramp: str  #: its version
    python: str  #: the version of the interpreter
    prefix: str  #: the interpreter's environment

    @classmethod
    def own(cls) -> Self:
        """Give that of this process."""
        version = ".".join(map(str, sys.version_info[:3]))
        return cls(ramp_engine.__version__, version, sys.prefix)

    @classmethod
    def of(cls, greeting: Mapping[str, Any]) -> Self:
        """Read that of an agent."""
        return cls(*(str(greeting.get(name)) for name in cls._fields))

    def __str__(self) -> str:
        return f"ramp {self.ramp} on Python {self.python} of {self.prefix}"
