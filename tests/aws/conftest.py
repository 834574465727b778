"""What tests of the worker on EC2 use: a cloud, and instances without one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.bundle_archive import BundleArchive, pack
from ramp_engine.testing import ToyEvent
from tests.aws.cloud import cloud
from tests.aws.local_station import new_home

__all__ = ["archive", "cloud", "home"]


@pytest.fixture(scope="session")
def archive(toy_event: ToyEvent, tmp_path_factory: pytest.TempPathFactory) -> BundleArchive:
    """The toy event's bundle, packed."""
    return pack(toy_event.bundle_dir, tmp_path_factory.mktemp("packed"))


@pytest.fixture
def home() -> Iterator[Path]:
    """The login's folder on an instance."""
    with new_home() as folder:
        yield folder
