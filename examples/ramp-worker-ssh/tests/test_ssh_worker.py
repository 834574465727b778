"""What the SSH worker says and does when the machine, or the way to it, is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ramp_engine.errors import ResourceUnavailableError, WorkerLostError, WorkerSetupError
from ramp_engine.testing import Scenario, ToyEvent
from ramp_engine.testing.ssh_server import SshServer, requires_sshd
from ramp_worker_ssh import SshWorker, SshWorkerConfig

pytestmark = requires_sshd
NAME = "submission_000000001"


@pytest.fixture
def worker(toy_event: ToyEvent, keys: dict[str, Any], tmp_path: Path) -> Iterator[SshWorker]:
    """One whose submission runs, and hangs."""
    worker = SshWorker(toy_event.config(tmp_path, NAME, Scenario.HANGING, **keys), NAME)
    worker.setup()
    worker.launch_submission()
    yield worker
    worker.teardown()


def run_to_its_end(worker: SshWorker) -> None:
    while worker.status == "running":
        worker.wait(0.05)


def test_a_connection_that_breaks_is_made_again(worker: SshWorker, machine: SshServer) -> None:
    machine.drop()
    assert worker.status == "running"


def test_a_run_whose_machine_is_gone_is_lost(worker: SshWorker, machine: SshServer) -> None:
    machine.stop()
    try:
        with pytest.raises(WorkerLostError, match="cannot be reached any more"):
            run_to_its_end(worker)
    finally:
        machine.start()


def test_submissions_wait_for_a_machine_that_is_away(
    toy_event: ToyEvent, keys: dict[str, Any], machine: SshServer, tmp_path: Path
) -> None:
    worker = SshWorker(toy_event.config(tmp_path, NAME, Scenario.GOOD, **keys), NAME)
    machine.stop()
    try:
        with pytest.raises(ResourceUnavailableError, match="Submissions wait for it"):
            worker.setup()
    finally:
        worker.teardown()
        machine.start()


def test_a_run_that_a_restart_of_the_machine_ended_is_lost(
    worker: SshWorker, reboot: Callable[[], None]
) -> None:
    reboot()
    with pytest.raises(WorkerLostError, match="has lost the run"):
        run_to_its_end(worker)


def test_teardown_does_without_the_machine_and_is_tried_again(
    worker: SshWorker, machine: SshServer
) -> None:
    machine.stop()
    worker.teardown()
    assert worker.status == "killed"
    machine.start()
    worker.teardown()


def test_a_bundle_goes_to_the_machine_once_and_without_labels_of_the_test_data(
    toy_event: ToyEvent, keys: dict[str, Any], tmp_path: Path
) -> None:
    seen = set()
    for name in (NAME, "submission_000000002"):
        config = toy_event.config(tmp_path / name, name, Scenario.GOOD, **keys)
        assert SshWorker(config, name).launch() == (0, "")
        (bundle,) = Path(keys["folder"]).glob("bundle-*")
        seen.add(bundle.stat().st_ino)
    assert len(seen) == 1
    public = {"manifest.json", "kit", "train", "folds", "test"}
    assert {path.name for path in bundle.iterdir()} <= public


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("host_key", "ssh-ed25519 AAAA", "KIND BASE64"),
        ("python", "env/bin/python", "an absolute path"),
        ("folder", "runs", "an absolute path"),
    ],
)
def test_a_key_that_will_not_do_is_told(
    keys: dict[str, Any], key: str, value: str, expected: str
) -> None:
    with pytest.raises(ValidationError, match=f"(?s){key}.*{expected}"):
        SshWorkerConfig.of(keys | {key: value})


def test_an_interpreter_that_is_not_on_the_machine_is_no_fault_of_the_participant(
    toy_event: ToyEvent, keys: dict[str, Any], tmp_path: Path
) -> None:
    keys |= {"python": "/nowhere/python"}
    worker = SshWorker(toy_event.config(tmp_path, NAME, Scenario.GOOD, **keys), NAME)
    with pytest.raises(WorkerSetupError, match="/nowhere/python"):
        worker.launch()
