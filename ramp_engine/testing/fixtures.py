"""Fixtures of pytest for the tests of a worker.

A test module has them by the line ``pytest_plugins = ["ramp_engine.testing.fixtures"]``.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.testing.toy_event import ToyEvent

__all__ = ["toy_event"]


@pytest.fixture(scope="session")
def toy_event(tmp_path_factory: pytest.TempPathFactory) -> ToyEvent:
    """Prepare an event of two folds; the Python that runs the tests needs ramp-workflow."""
    return ToyEvent.prepare(Path(tmp_path_factory.mktemp("toy"), "event"))
