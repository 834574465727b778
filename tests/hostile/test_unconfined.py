"""The hostile set, not confined, on a machine that offers nothing."""

from __future__ import annotations

from typing import ClassVar

from tests.hostile import levels
from tests.hostile.hostile_set import HostileSet


class TestUnconfined(HostileSet):
    level: ClassVar = levels.NONE
    leaves: ClassVar = frozenset(
        {"/tmp", "/var/tmp", "/run/lock", "/dev/shm", "/dev/mqueue", "TMPDIR", "IPC objects"}
    )
