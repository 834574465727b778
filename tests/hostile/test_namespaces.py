"""The hostile set, confined by namespaces that root has made."""

from __future__ import annotations

from typing import ClassVar

from tests.hostile import levels
from tests.hostile.hostile_set import HostileSet


class TestNamespaces(HostileSet):
    level: ClassVar = levels.NAMESPACES
