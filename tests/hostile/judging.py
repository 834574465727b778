"""Whether a level has held a submission."""

from __future__ import annotations

import re

from tests.hostile import holds
from tests.hostile.aftermath import Aftermath
from tests.hostile.arena import Battle
from tests.hostile.cases import LIMITS, Case


def problems_of(case: Case, found: Aftermath, battle: Battle) -> list[str]:
    """Tell what does not hold of a submission, in words; nothing when all does."""
    problems = []
    if found.state not in case.states:
        problems.append(f"it is {found.state} and not {' or '.join(case.states)}")
    if not re.search(case.says, found.error):
        problems.append(f"its team is told {found.error[:500]!r}, which is not {case.says!r}")
    problems += filter(None, (predicate(found) for predicate in case.holds))
    problems += holds.well_formed(found, LIMITS["log_mb"], battle.level.name)
    problems += holds.nothing_got_out(found, battle.secrets)
    return problems
