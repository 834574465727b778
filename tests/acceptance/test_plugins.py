"""Workers that somebody else brings: built, installed, tested and used as their guide says."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from ramp_engine.cli.main import ramp
from ramp_engine.testing.ssh_server import SshServer, requires_sshd
from tests.acceptance.deployment import REPOSITORY, Deployment
from tests.integration.documented_worker import MyWorker
from tests.plugin_environment import PluginEnvironment

EXAMPLE = REPOSITORY / "examples" / "ramp-worker-ssh"


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("generated") / "ramp-worker-my-cluster"
    done = CliRunner().invoke(
        ramp, ["setup", "init-worker", "My-Cluster", "--path", str(directory)]
    )
    assert done.exit_code == 0, done.output
    assert f"pip install --editable '{directory}[test]'" in done.output
    return directory


@pytest.fixture(scope="module")
def environment(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> PluginEnvironment:
    """Where both packages are installed from their wheels."""
    environment = PluginEnvironment(tmp_path_factory.mktemp("plugins") / "environment")
    environment.install(generated, EXAMPLE)
    return environment


def test_a_generated_worker_passes_the_tests_that_are_generated_with_it(
    generated: Path, environment: PluginEnvironment
) -> None:
    assert " passed" in environment.test(generated / "tests")


@requires_sshd
def test_the_worker_of_the_guide_passes_its_tests(environment: PluginEnvironment) -> None:
    assert " passed" in environment.test(EXAMPLE / "tests")


def assert_scored(deployment: Deployment) -> None:
    """See the starting kit on the leaderboard, and its team's broken submission told so."""
    rows = deployment.submissions().values()
    assert {row["name"]: row["state"] for row in rows} == {
        "starting_kit": "scored",
        "broken": "training_error",
    }
    (row,) = deployment.json("leaderboard", "--event", "iris")
    assert (row["rank"], row["submission"]) == (1, "starting_kit")


def test_submissions_are_scored_by_a_worker_written_as_ramps_documentation_shows(
    deployment: Deployment,
) -> None:
    deployment.configure(f"{MyWorker.__module__}:{MyWorker.__name__}", "a_key: of its own")
    for name in ("starting_kit", "broken"):
        deployment.submit(name)
    deployment.dispatch()
    assert_scored(deployment)


@requires_sshd
def test_submissions_of_an_event_are_scored_on_a_machine_reached_by_ssh(
    deployment: Deployment, environment: PluginEnvironment, tmp_path: Path
) -> None:
    with SshServer(tmp_path / "machine") as machine:
        runs = machine.home / "runs"
        # The login of a test that runs as root is root, as whom nothing is confined.
        level = "none" if os.geteuid() == 0 else "namespaces"
        keys = {"python": deployment.python, "folder": runs, "confinement": level}
        deployment.configure("ssh", _keys(machine, **keys))
        program = [str(environment.python), "-m", "ramp_engine"]

        def run(*arguments: str) -> str:
            return environment.run(
                [*program, *arguments], deployment.directory, deployment.environment
            )

        for name in ("starting_kit", "broken"):
            folder = deployment.event / "kit" / "submissions" / name
            run("submit", str(folder), "--event", "iris", "--team", "blue", "--create-team")
        event = ("--event-config", str(deployment.event_config))
        run("launch", "dispatcher", *event, "--exit-when-done")

        assert_scored(deployment)
        assert {path.name.split("-")[0] for path in runs.iterdir()} == {"bundle"}
        assert not list(machine.home.rglob("*labels*"))


def _keys(machine: SshServer, **more: object) -> str:
    target = machine.target
    keys = {
        "host": target.host,
        "port": target.port,
        "user": target.user,
        "key_path": target.key_path,
        "host_key": machine.host_key,
        **more,
    }
    return "\n  ".join(f"{key}: {value}" for key, value in keys.items())


def test_installed_workers_are_listed_with_their_origin(environment: PluginEnvironment) -> None:
    listed = json.loads(
        environment.run([str(environment.python), "-m", "ramp_engine", "workers", "--json"])
    )
    origins = {worker["name"]: worker["origin"] for worker in listed}
    assert origins["ssh"] == "ramp-worker-ssh 0.1.0"
    assert origins["my_cluster"] == "ramp-worker-my-cluster 0.1.0"


def test_linters_have_nothing_to_say_of_either_package(
    generated: Path, environment: PluginEnvironment
) -> None:
    program = [sys.executable, "-m"]
    environment.run([*program, "ruff", "check", "--isolated", "--no-cache"], generated)
    config = ["--strict", "--config-file", str(REPOSITORY / "pyproject.toml")]
    for package in (generated, EXAMPLE):
        parts = [str(package / "src"), str(package / "tests")]
        environment.run([*program, "mypy", *config, *parts], REPOSITORY)
