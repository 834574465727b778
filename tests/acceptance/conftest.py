"""Deployments that end with the test, with everything that they started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment, processes_of, wait_until


@pytest.fixture
def make_deployment(tmp_path: Path) -> Iterator[Callable[..., Deployment]]:
    made: list[Deployment] = []

    def make(url: str | None = None, **event: Any) -> Deployment:
        deployment = Deployment(tmp_path / f"deployment_{len(made)}", url)
        deployment.add_iris(**event)
        made.append(deployment)
        return deployment

    yield make
    for deployment in made:
        for process in deployment.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
    assert wait_until(lambda: processes_of(tmp_path) == [], seconds=15), processes_of(tmp_path)


@pytest.fixture
def deployment(make_deployment: Callable[..., Deployment]) -> Deployment:
    """A deployed iris event on SQLite."""
    made = make_deployment()
    made.deploy()
    return made
