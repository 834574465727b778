"""An event whose kit is large, for submissions that are run by the fold step alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.hostile.harness import Arena
from tests.kits.evaluation import bundled_event
from tests.kits.light import lighten

pytest.register_assert_rewrite("tests.hostile.hostile_set")


@pytest.fixture(scope="session")
def large_arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """One whose kit holds 500 MB in each process, shared by copy-on-write."""
    event = bundled_event("iris", Path(tmp_path_factory.mktemp("large")))
    lighten(event.kit)
    problem = event.kit / "problem.py"
    ballast = "\nimport numpy\n\nBALLAST = numpy.ones(500 << 17)\n"
    problem.write_text(problem.read_text() + ballast)
    assert event.prepare().code == 0
    return Arena(event, "none")
