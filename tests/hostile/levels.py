"""The levels at which the hostile set runs, and how a machine comes to offer no more."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.refusals import CREATE_RULESET, UNSHARE

#: An environment variable: set, it has every run of every level start anew.
ALL_COLD = "RAMP_HOSTILE_COLD"


@dataclass(frozen=True)
class Level:
    """A level, who is confined, and what the machine is made to refuse so that it comes to that.

    Each has submissions run as a user of its own, whom nothing else runs as: whatever belongs to
    that user afterwards was left by them.
    """

    name: str
    sandbox_user: str = "nobody"  #: who submissions run as when root runs the dispatcher
    dispatcher_uid: int | None = None  #: who runs the dispatcher instead, when root runs the tests
    refused: Mapping[int, int] = field(default_factory=dict)  #: system calls, with error numbers
    #: whether each run starts anew, rather than from a fold server
    is_cold: bool = ALL_COLD in os.environ

    @property
    def uid(self) -> int | None:
        """The user who submissions run as; None when that is who runs the tests."""
        if os.geteuid() != 0:
            return None
        if self.dispatcher_uid is not None:
            return self.dispatcher_uid
        return pwd.getpwnam(self.sandbox_user).pw_uid

    def dispatcher(self) -> dict[str, Any]:
        """Return how `subprocess` starts the dispatcher."""
        uid = self.dispatcher_uid
        if os.geteuid() != 0 or uid is None:
            return {}
        return {"user": uid, "group": uid, "extra_groups": []}


NAMESPACES = Level("namespaces", "games")
NAMESPACES_OF_A_USER = Level("namespaces", dispatcher_uid=61187, is_cold=True)
LANDLOCK = Level("landlock", "news", refused={UNSHARE: 1})
NONE = Level("none", "irc", refused={UNSHARE: 1, CREATE_RULESET: 38})
