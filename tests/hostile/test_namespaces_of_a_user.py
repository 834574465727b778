"""What only confinement holds, confined by namespaces of a user; each run starts cold."""

from __future__ import annotations

from typing import ClassVar

from tests.hostile import levels
from tests.hostile.cases import CASES
from tests.hostile.hostile_set import HostileSet

#: Where it matters that a submission has the user of the dispatcher.
_RIGHTS = ("closes_its_folders", "hidden_files", "predictions_are_a_hard_link", "names_files_badly")


class TestNamespacesOfAUser(HostileSet):
    level: ClassVar = levels.NAMESPACES_OF_A_USER
    cases: ClassVar = [case for case in CASES if case.weaker or case.name in _RIGHTS]
