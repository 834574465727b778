"""The hostile set, confined by Landlock and a filter of system calls."""

from __future__ import annotations

from typing import ClassVar

from tests.hostile import levels
from tests.hostile.hostile_set import HostileSet


class TestLandlock(HostileSet):
    level: ClassVar = levels.LANDLOCK
    leaves: ClassVar = frozenset({"/dev/shm"})
