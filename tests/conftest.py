"""What tests of several kinds use: a toy event, a conda environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from ramp_engine.testing import ToyEvent
from tests.conda_channel import conda_room

__all__ = ["conda_room"]

pytest.register_assert_rewrite("ramp_engine.testing.conformance")


@pytest.fixture(scope="session")
def toy_event(tmp_path_factory: pytest.TempPathFactory) -> ToyEvent:
    """A prepared event of two folds, for real code."""
    return ToyEvent.prepare(Path(tmp_path_factory.mktemp("toy"), "event"))
