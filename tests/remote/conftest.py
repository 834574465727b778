"""What tests of nodes share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.bundle_archive import BundleArchive, pack
from ramp_engine.testing import ToyEvent
from tests.remote.node_room import NodeRoom, end_agent


@pytest.fixture(scope="session")
def archive(toy_event: ToyEvent, tmp_path_factory: pytest.TempPathFactory) -> BundleArchive:
    """The toy event's bundle, packed."""
    return pack(toy_event.bundle_dir, tmp_path_factory.mktemp("archives"))


@pytest.fixture(scope="session")
def node_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where agents have their files; none of them asks a network for notices."""
    os.environ["RAMP_INSTANCE_METADATA"] = ""
    yield tmp_path_factory.mktemp("node")
    del os.environ["RAMP_INSTANCE_METADATA"]


@pytest.fixture(scope="session")
def shared_room(node_dir: Path, archive: BundleArchive) -> Iterator[NodeRoom]:
    """A node with an agent for all tests that do not end it."""
    room = NodeRoom(node_dir, archive)
    yield room
    end_agent(room.place)


@pytest.fixture
def own_room(
    node_dir: Path, archive: BundleArchive, request: pytest.FixtureRequest
) -> Iterator[NodeRoom]:
    """A node with an agent for one test."""
    room = NodeRoom(node_dir, archive, f"{abs(hash(request.node.name)):016x}")
    yield room
    end_agent(room.place)
