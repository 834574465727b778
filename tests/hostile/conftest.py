"""An event for hostile submissions, at each level of confinement."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.hostile.harness import Arena
from tests.kits.evaluation import Event, bundled_event

LEVELS = ("none", "landlock", "namespaces")


@pytest.fixture(scope="session")
def event(tmp_path_factory: pytest.TempPathFactory) -> Event:
    event = bundled_event("iris", tmp_path_factory.mktemp("event"))
    assert event.prepare().code == 0
    return event


@pytest.fixture(scope="session", params=LEVELS)
def arena(event: Event, request: pytest.FixtureRequest) -> Arena:
    level = request.param
    if level == "landlock" and os.geteuid() == 0 and not _is_open_to_all(Path(sys.base_prefix)):
        pytest.skip(f"at this level {sys.base_prefix} must be readable for everybody, and is not")
    return Arena(event, level)


def _is_open_to_all(folder: Path) -> bool:
    return all(path.stat().st_mode & 0o005 == 0o005 for path in (folder, *folder.parents))


@pytest.fixture(scope="session")
def large_arena(tmp_path_factory: pytest.TempPathFactory) -> Arena:
    """One whose kit holds 500 MB in each process, shared by copy-on-write."""
    event = bundled_event("iris", Path(tmp_path_factory.mktemp("large")))
    problem = event.kit / "problem.py"
    ballast = "\nimport numpy\n\nBALLAST = numpy.ones(500 << 17)\n"
    problem.write_text(problem.read_text() + ballast)
    assert event.prepare().code == 0
    return Arena(event, "none")
