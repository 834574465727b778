"""Deployments that end with the test, with everything that they started."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.deployment import Deployment, processes_of, wait_until
from tests.acceptance.warm import WarmPrograms


@pytest.fixture(scope="session")
def programs() -> Iterator[WarmPrograms]:
    programs = WarmPrograms()
    yield programs
    programs.end()


@pytest.fixture(scope="session")
def deployed_once(tmp_path_factory: pytest.TempPathFactory, programs: WarmPrograms) -> Deployment:
    """A deployed iris event on SQLite, to be copied."""
    deployed = Deployment(tmp_path_factory.mktemp("deployed") / "deployment", programs)
    deployed.add_iris()
    deployed.deploy()
    return deployed


@pytest.fixture(scope="session")
def scored_once(tmp_path_factory: pytest.TempPathFactory, deployed_once: Deployment) -> Deployment:
    """The same with submissions that are done, to be copied."""
    scored = deployed_once.copy(tmp_path_factory.mktemp("scored") / "deployment")
    scored.submit("starting_kit", team="blue")
    scored.submit("sepals", team="red")
    scored.submit("broken", team="red")
    scored.dispatch()
    return scored


@pytest.fixture
def deployments(tmp_path: Path) -> Iterator[list[Deployment]]:
    """What a test deploys; it ends with the test."""
    made: list[Deployment] = []
    yield made
    for deployment in made:
        for process in deployment.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()
    assert wait_until(lambda: processes_of(tmp_path) == []), processes_of(tmp_path)


@pytest.fixture
def make_deployment(
    tmp_path: Path, deployments: list[Deployment], programs: WarmPrograms
) -> Callable[..., Deployment]:
    """Make deployments of an iris event that is not deployed yet."""

    def make(url: str | None = None, **event: Any) -> Deployment:
        deployment = Deployment(tmp_path / f"deployment_{len(deployments)}", programs, url)
        deployment.add_iris(**event)
        deployments.append(deployment)
        return deployment

    return make


@pytest.fixture
def deployment(
    tmp_path: Path, deployments: list[Deployment], deployed_once: Deployment
) -> Deployment:
    """A deployed iris event on SQLite."""
    deployments.append(deployed_once.copy(tmp_path / "deployment"))
    return deployments[-1]


@pytest.fixture
def scored(tmp_path: Path, deployments: list[Deployment], scored_once: Deployment) -> Deployment:
    """A deployment with a scored submission of each of two teams, 1 and 2, and a broken one."""
    deployments.append(scored_once.copy(tmp_path / "scored"))
    return deployments[-1]
