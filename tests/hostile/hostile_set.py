"""What must hold when the whole hostile set has been through a dispatcher, at whatever level.

A file for each level subclasses `HostileSet`, so that levels can run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest

from tests.hostile.arena import Battle, opened
from tests.hostile.cases import CASES, Case
from tests.hostile.judging import problems_of
from tests.hostile.levels import Level
from tests.hostile.offers import refusal


@pytest.mark.timeout(1800)
class HostileSet:
    """Every submission of the set, honest ones between them, one dispatcher.

    Attributes
    ----------
    level : Level
    cases : sequence of Case
        Those that are run.
    leaves : frozenset of str
        Kinds of traces (see `host.traces_of`) that submissions do leave at this level.
    """

    level: ClassVar[Level]
    cases: ClassVar[Sequence[Case]] = CASES
    leaves: ClassVar[frozenset[str]] = frozenset()

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each submission, so that a failure names it."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=lambda case: case.name)

    @pytest.fixture(scope="class")
    @classmethod
    def battle(cls) -> Battle:
        reason = refusal(cls.level)
        if reason:
            pytest.skip(f"level {cls.level.name} is not compared: {reason}")
        with opened(cls.level) as arena:
            return arena.fight(cls.cases)

    def test_a_submission_is_held_as_far_as_is_promised(self, case: Case, battle: Battle) -> None:
        problems = problems_of(case, battle.aftermaths[case.name], battle)
        if self.level.name not in case.weaker:
            assert problems == []
        elif not case.is_by_machine:
            assert problems, "it is held after all: say so in `cases`"

    def test_honest_submissions_beside_are_scored_as_when_alone(self, battle: Battle) -> None:
        for found in battle.beside:
            alone = battle.alone[found.name]
            assert (found.state, found.n_attempts) == ("scored", 1), found.error
            assert found.scores == alone.scores
            assert alone.scores != {}

    def test_nothing_is_lost_and_nothing_stuck(self, battle: Battle) -> None:
        assert battle.violations == []

    def test_files_and_settings_of_the_host_are_as_before(self, battle: Battle) -> None:
        assert battle.changes == []

    def test_nothing_of_theirs_is_left_on_the_host(self, battle: Battle) -> None:
        left = {kind: found for kind, found in battle.traces.items() if found}
        assert set(left) <= self.leaves, left

    def test_the_dispatcher_tells_of_nothing_unforeseen(self, battle: Battle) -> None:
        assert "Traceback" not in battle.dispatcher_log
