"""The life of submissions on EC2: moto's instances, a real sshd each, real training."""

from __future__ import annotations

import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ramp_database.states import State
from ramp_engine.testing.ssh_server import requires_sshd
from tests.aws.farm import Farm, farm
from tests.integration.dispatching import wait_for
from tests.integration.on_aws import AwsEvent, aws_event
from tests.integration.on_cluster import cluster_event

__all__ = ["farm"]

pytestmark = requires_sshd


@pytest.fixture(scope="module")
def _served(farm: Farm) -> Iterator[AwsEvent]:
    with aws_event(farm, "iris") as event, event.dispatching():
        yield event


@pytest.fixture(scope="module")
def confined(farm: Farm) -> Iterator[AwsEvent]:
    """An event whose submissions are confined, so that instances serve one after another."""
    folder = Path(tempfile.mkdtemp(prefix="ramp-t-"))
    folder.chmod(0o755)
    keys = {"sandbox": "required", "extra_read_paths": [str(folder)], "memory_profiling": True}
    try:
        with aws_event(farm, "confined", **keys) as event, event.dispatching():
            event.open_folder = folder
            yield event
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def served(_served: AwsEvent) -> Iterator[AwsEvent]:
    """An event with its dispatcher; after each test all promises hold."""
    yield _served
    _served.cancel_rest()
    _served.check()


def starting_kit(event: AwsEvent) -> str:
    return (event.event.ramp.sandbox_dir / "estimator.py").read_text()


def test_the_starting_kit_is_scored_as_by_the_local_worker_and_the_next_one_starts_at_once(
    confined: AwsEvent,
) -> None:
    code = starting_kit(confined)
    n_launches = confined.cloud.calls["ec2:RunInstances"]
    first = confined.submit(code)
    assert confined.await_scored(first) == ["succeeded"]
    second = confined.submit(code)
    assert confined.await_scored(second) == ["succeeded"]
    assert confined.cloud.calls["ec2:RunInstances"] == n_launches + 1
    assert confined.scores(first) == confined.scores(second) == local_scores(confined, code)
    for fold in (0, 1):
        assert re.search(
            rf"^fold {fold} took (at most \d+\.\d MB of|hardly any) memory beside the imports",
            confined.log(first),
            re.MULTILINE,
        )


LOCAL = {"worker_type": "local", "node_dir": None}


def local_scores(event: AwsEvent, code: str) -> list[dict[str, Any]]:
    with cluster_event("local", LOCAL) as local, local.dispatching():
        number = local.submit(code)
        assert local.await_scored(number) == ["succeeded"]
        return local.scores(number)


def test_log_and_scores_of_done_folds_are_seen_while_others_run(served: AwsEvent) -> None:
    number, gate = served.submit_gated()
    gate.await_begun(1)
    log, seen = served.live_log(number), b""

    def shows(words: bytes) -> bool:
        nonlocal seen
        seen += log.read()
        return words in seen

    assert wait_for(lambda: shows(b"fold 0 waits"))
    assert b"fold 1" not in seen
    gate.open(0)
    gate.await_begun(2)
    assert wait_for(lambda: served.partial_folds(number) == [0])
    assert wait_for(lambda: shows(b"fold 1 waits"))
    log.close()
    gate.open()
    assert served.await_scored(number) == ["succeeded"]
    assert served.log(number).encode().startswith(seen)


def test_a_cancel_ends_the_tree_and_an_instance_that_served_unconfined_serves_no_other(
    served: AwsEvent,
) -> None:
    number, gate = served.submit_gated()
    (begun,) = gate.await_begun(1)
    (instance,) = served.instances()
    asked_at = time.monotonic()
    served.cancel(number)
    gate.await_gone()
    seconds = time.monotonic() - asked_at
    print(f"the tree was gone {seconds:.2f} s after the request")
    assert seconds < 20
    assert served.await_end(number).state is State.CANCELED
    assert "fold 0 waits" in served.log(number)
    assert not Path(begun.where).exists()
    assert wait_for(lambda: instance not in served.instances())


def test_a_cancel_ends_the_wait_for_an_instance_that_does_not_answer(farm: Farm) -> None:
    with aws_event(farm, "deaf") as event, event.dispatching() as witness:
        farm.is_starting = False
        try:
            number = event.submit("")
            event.await_instances(1)
            assert witness.sees(lambda w: w.started == [number])
            asked_at = time.monotonic()
            event.cancel(number)
            assert witness.sees(lambda w: w.ended == [number])
            seconds = time.monotonic() - asked_at
        finally:
            farm.is_starting = True
        assert seconds < 20, "the start_timeout is 300 s"
        assert event.row(number).state is State.CANCELED
        event.await_instances(0)
        event.check()


#: Writes a mark wherever it may, and waits for leave to go on.
LEAVING = """
import pathlib, tempfile, time
from nearest import NearestMean

def get_estimator():
    home, cwd, tmp = pathlib.Path.home(), pathlib.Path.cwd(), pathlib.Path(tempfile.gettempdir())
    n_left = 0
    for place in (home, cwd, tmp, *map(pathlib.Path, ("/dev/shm", "/tmp", "/var/tmp"))):
        try:
            (place / "left-{mark}").write_text("{mark}")
            n_left += 1
        except OSError:
            pass
    print("left", n_left, flush=True)
    while not pathlib.Path("{gate}").exists():
        time.sleep(0.02)
    return NearestMean()
"""


def test_two_have_an_instance_each_and_the_third_finds_nothing_of_the_one_before(
    farm: Farm, confined: AwsEvent
) -> None:
    gates = [confined.open_folder / f"gate-{number}" for number in range(3)]
    marks = [secrets.token_hex(8) for _ in gates]

    def submit(which: int) -> int:
        return confined.submit(LEAVING.format(mark=marks[which], gate=gates[which]))

    def is_waiting(number: int) -> bool:
        row = confined.row(number)
        return row.state is State.TRAINING and b"left" in confined.live_log(number).read()

    numbers = [submit(0), submit(1)]
    assert wait_for(lambda: all(map(is_waiting, numbers)))
    assert len(confined.instances()) == 2
    gates[0].touch()
    assert confined.await_scored(numbers[0]) == ["succeeded"]
    third = submit(2)
    assert wait_for(lambda: is_waiting(third))
    tenants = {tag: instance for instance, tag in confined.instances().items()}
    assert tenants.keys() == {f"{numbers[1]}-1", f"{third}-1"}
    home = farm.machine(tenants[f"{third}-1"]).home
    assert containing(home, marks[2]), "it is found where it is"
    assert containing(home, marks[0]) == []
    for shared in ("/tmp", "/dev/shm", "/var/tmp"):
        assert not Path(shared, f"left-{marks[0]}").exists()
    for gate in gates:
        gate.touch()
    for number in (numbers[1], third):
        assert confined.await_scored(number) == ["succeeded"]
    confined.check()


def containing(folder: Path, mark: str) -> list[Path]:
    """Find the files that hold a mark."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    return [path for path in files if mark.encode() in path.read_bytes()]


def test_the_time_limit_is_the_participants(farm: Farm) -> None:
    with aws_event(farm, "short", {"timeout": 5}) as event, event.dispatching():
        number, gate = event.submit_gated()
        assert event.await_end(number).state is State.TRAINING_ERROR
        assert [one.outcome for one in event.attempts(number)] == ["timed_out"]
        gate.await_gone()
        assert "fold 0 waits" in event.log(number)
        event.check()
