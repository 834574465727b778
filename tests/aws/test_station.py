"""The dispatcher's side of an instance, whose commands run here, over a connection that breaks."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ramp_engine.aws import answers
from ramp_engine.aws.answers import Parcel
from ramp_engine.aws.refusals import TakenOverError
from ramp_engine.aws.station import Prepared, Report, RunRequest, Station
from ramp_engine.aws.taking import take_parcel
from ramp_engine.bundle_archive import BundleArchive
from ramp_engine.errors import (
    CollectError,
    ConnectionLostError,
    ResourceUnavailableError,
    SandboxError,
    TransportError,
    WorkerLostError,
    WorkerSetupError,
)
from ramp_engine.fold_outputs import is_tested
from ramp_engine.fold_process import FoldScratch, make_scratch
from ramp_engine.sandbox import SandboxKeys
from ramp_engine.testing import Scenario
from ramp_engine.testing.scenarios import estimator_source
from tests.aws.local_station import (
    Done,
    LocalConnection,
    lost,
    new_home,
    no_fault,
    pids_of,
    wait_until,
)
from tests.open_environment import open_python

ROOM = 1 << 30


class EachMomentOnce:
    """Lose the connection at the beginning and the end of each kind of call, once each."""

    def __init__(self) -> None:
        self.moments: set[str] = set()

    def __call__(self, moment: str) -> None:
        if moment not in self.moments:
            self.moments.add(moment)
            raise ConnectionLostError(f"lost at {moment}")


def quick(connection: Any, patience_seconds: float = 60.0) -> Station:
    return Station(connection, patience_seconds=patience_seconds, back_off_seconds=0.01)


@pytest.fixture
def submission(tmp_path: Path) -> Path:
    folder = tmp_path / "submission"
    folder.mkdir()
    (folder / "estimator.py").write_text(estimator_source(Scenario.GOOD))
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> FoldScratch:
    return make_scratch(tmp_path)


@pytest.fixture(scope="module")
def connection() -> Iterator[LocalConnection]:
    with new_home() as home:
        yield LocalConnection(home)


@pytest.fixture(scope="module")
def prepared(connection: LocalConnection, archive: BundleArchive) -> Prepared:
    return quick(connection).prepare({"python": str(open_python())}, archive)


def request(run: str, prepared: Prepared, submission: Path) -> RunRequest:
    spec = prepared.spec(SandboxKeys(), 1)
    return RunRequest(run, prepared, submission, spec, 120.0, 120.0, n_threads=1)


def report_of_end(station: Station, run: str) -> tuple[Report, bytes]:
    log = b""
    reports: list[Report] = []

    def has_ended() -> bool:
        nonlocal log
        try:
            reports.append(station.status(run, len(log), ()))
        except ConnectionLostError:
            return False
        log += reports[-1].log
        return reports[-1].state == "ended" and not reports[-1].log

    wait_until(has_ended, "the end of the run")
    return reports[-1], log


def test_a_connection_that_is_lost_at_each_moment_loses_nothing_and_does_nothing_twice(
    archive: BundleArchive, submission: Path, scratch: FoldScratch, home: Path
) -> None:
    connection = LocalConnection(home)
    connection.fault = EachMomentOnce()
    station = quick(connection)
    prepared = station.prepare({"python": str(open_python())}, archive)
    assert prepared.spec(SandboxKeys(), 2)["limits"]["memory_mb"] < prepared.memory_mb / 2
    station.start(request("r1", prepared, submission))
    ended, log = report_of_end(station, "r1")
    assert (ended.returncode, ended.killed_by, ended.done) == (0, None, (0, 1))
    assert log.count(b"trained") == 2
    station.fetch("r1", [0], is_whole=False, target=scratch, max_bytes=ROOM)
    assert is_tested(scratch.output, 0)
    assert not scratch.result.exists()
    scratch.log.write_bytes(b"head\n" + log[:5])
    with scratch.log.open("rb") as reader:
        reader.read()
        station.fetch("r1", None, is_whole=True, target=scratch, max_bytes=ROOM, log_head=b"head\n")
        assert reader.read() == log[5:]
    assert is_tested(scratch.output, 1)
    assert json.loads(scratch.result.read_text())["folds"]
    assert not list(scratch.root.glob(".incoming-*"))
    assert station.end("r1") is True
    assert station.wipe() is True
    assert pids_of(home) == []
    fault = connection.fault
    assert isinstance(fault, EachMomentOnce)
    kinds = {moment.removesuffix(" done") for moment in fault.moments}
    assert kinds >= {"connect", "run hello", "run prepare", "run mkdir", "put .pyz", "put .tar"}
    assert kinds >= {"run start", "run status", "run pack", "get", "run end", "run wipe"}


def test_status_is_one_command_which_is_not_tried_again(
    connection: LocalConnection, prepared: Prepared
) -> None:
    station = quick(connection)
    station.take()
    assert station.status("nobody", 0, ()) == Report("unknown")
    connection.calls.clear()
    assert station.status("nobody", 0, ()).state == "unknown"
    assert connection.calls == ["run status"]
    connection.fault = lost("run status")
    try:
        with pytest.raises(ConnectionLostError):
            station.status("nobody", 0, ())
        assert station.status("nobody", 0, ()).state == "unknown"
    finally:
        connection.fault = no_fault
    assert connection.calls[1:] == ["run status", "connect", "run status"]


def test_an_instance_that_stays_silent_is_lost_when_patience_is_at_its_end(home: Path) -> None:
    connection = LocalConnection(home, fault=lost("connect", times=10**6))
    station = quick(connection, patience_seconds=0.2)
    with pytest.raises(WorkerLostError, match="has not answered"):
        station.end("r1")
    assert len(connection.calls) > 2


def test_a_file_that_changes_or_is_cut_on_its_way_is_fetched_again(
    connection: LocalConnection, prepared: Prepared, submission: Path, scratch: FoldScratch
) -> None:
    station = quick(connection)
    station.take()
    station.start(request("r2", prepared, submission))
    report_of_end(station, "r2")
    damages = [lambda data: data[:-10], lambda data: data[:-10] + bytes(10)]

    def damage(moment: str) -> None:
        if moment == "get" and damages:
            (path,) = (connection.home / ".ramp" / "runs" / "r2").glob("outgoing-*")
            path.write_bytes(damages.pop()(path.read_bytes()))

    connection.fault = damage
    station.fetch("r2", None, is_whole=True, target=scratch, max_bytes=ROOM)
    assert is_tested(scratch.output, 0)
    assert damages == []

    def replace_by_link(moment: str) -> None:
        if moment == "get":
            (path,) = (connection.home / ".ramp" / "runs" / "r2").glob("outgoing-*")
            path.unlink()
            path.symlink_to("/etc/passwd")

    connection.fault = replace_by_link
    with pytest.raises(TransportError, match="no regular file"):
        station.fetch("r2", None, is_whole=True, target=scratch, max_bytes=ROOM)
    connection.fault = no_fault
    with pytest.raises(CollectError, match="at most"):
        station.fetch("r2", None, is_whole=True, target=scratch, max_bytes=-(16 << 20))
    station.wipe()


# Parcels that somebody hostile has made


def parcel_of(path: Path, entries: Any, content: bytes = b"") -> Parcel:
    path.write_bytes(json.dumps(entries).encode() + b"\n" + content)
    return Parcel("f", path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest())


@pytest.mark.parametrize(
    ("entries", "content"),
    [
        ([["../escaped", 1]], b"x"),
        ([["/tmp/escaped", 1]], b"x"),
        ([["output/fold_0/../../escaped", 1]], b"x"),
        ([["output/fold_0/other.py", 1]], b"x"),
        ([["output/fold_1/state.txt", 1]], b"x"),
        ([["output/fold_00/state.txt", 1]], b"x"),
        ([["output/fold_0/state.txt", 1], ["output/fold_0/state.txt", 1]], b"xx"),
        ([["output/fold_0/state.txt", 5]], b"x"),
        ([["output/fold_0/state.txt", -1]], b""),
        ([["output/fold_0/state.txt", True]], b"x"),
        ([["output/fold_0/state.txt", 1000]], bytes(1000)),
        ([["log", 1]], b"x"),
        ({"output/fold_0/state.txt": 1}, b"x"),
        ("", b""),
    ],
)
def test_what_nobody_asked_for_is_refused_as_a_whole(
    entries: Any, content: bytes, scratch: FoldScratch, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    parcel = parcel_of(source, entries, content)

    def get(path: Path) -> str:
        shutil.copy(source, path)
        return parcel.sha256

    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(CollectError):
        take_parcel(get, parcel, scratch, folds=[0], own=None, max_bytes=100)
    assert sorted(tmp_path.rglob("*")) == before


# What an instance refuses


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Done(127, b"", b"python3: not found"), WorkerSetupError),
        (Done(1, b"", b"OSError: [Errno 28] No space left on device"), ResourceUnavailableError),
        (Done(1, b"", b"Segmentation fault"), TransportError),
        (Done(0, b"no json", b""), TransportError),
        (Done(0, b'{"unexpected": 1}', b""), TransportError),
        (Done(0, b'["a list"]', b""), TransportError),
        (Done(0, b'{"error": {"kind": "disk", "message": "full"}}', b""), ResourceUnavailableError),
        (Done(0, b'{"error": {"kind": "python", "message": "none"}}', b""), WorkerSetupError),
        (Done(0, b'{"error": {"kind": "sandbox", "message": "none"}}', b""), SandboxError),
        (Done(0, b'{"error": {"kind": "ours", "message": "bug"}}', b""), WorkerSetupError),
    ],
)
def test_what_an_instance_answers_becomes_one_of_our_errors(
    answer: Done, error: type[Exception], home: Path, archive: BundleArchive
) -> None:
    class Answering(LocalConnection):
        def run(self, *arguments: Any, **options: Any) -> Done:
            return answer

    with pytest.raises(error):
        quick(Answering(home)).prepare({}, archive)


@pytest.mark.parametrize(("mode", "is_refused"), [("required", True), ("auto", False)])
def test_an_instance_that_confines_less_than_is_required_is_refused(
    home: Path, archive: BundleArchive, mode: str, is_refused: bool
) -> None:
    refusal = {"level": "namespaces", "reason": "not allowed here", "hint": "allow it"}
    told = {"python": "/p", "level": "landlock", "uid": None, "gid": None, "refused": [refusal]}
    told |= {"facts": {"memory_mb": 1024, "disk_free_mb": 1, "gpus": []}}

    class Weak(LocalConnection):
        def run(self, *arguments: Any, **options: Any) -> Done:
            return Done(0, json.dumps(told).encode(), b"")

    refused = pytest.raises(SandboxError, match=r"on the instance: .*not allowed here")
    with refused if is_refused else contextlib.nullcontext():
        quick(Weak(home)).prepare({"sandbox": mode}, archive)


def test_what_the_login_prints_before_an_answer_does_no_harm(
    connection: LocalConnection, prepared: Prepared
) -> None:
    class Talking(LocalConnection):
        def run(self, *arguments: Any, **options: Any) -> Done:
            done = super().run(*arguments, **options)
            return Done(done.returncode, b"Welcome!\n{}\n" + done.stdout, done.stderr)

    station = quick(Talking(connection.home))
    station.take()
    assert station.status("nobody", 0, ()).state == "unknown"


@pytest.mark.parametrize("moment", ["put .pyz", "put .tar"])
def test_a_disk_without_room_for_program_or_bundle_is_told(
    moment: str, home: Path, archive: BundleArchive
) -> None:
    def refuse(now: str) -> None:
        if now == moment:
            raise TransportError("no room", is_full=True)

    station = quick(LocalConnection(home, fault=refuse))
    with pytest.raises(ResourceUnavailableError, match="disk is full"):
        station.prepare({"python": str(open_python())}, archive)


def test_a_program_that_was_cut_is_not_taken_for_one(home: Path, archive: BundleArchive) -> None:
    connection = LocalConnection(home)
    station = quick(connection)
    station.status("nobody", 0, ())
    (program,) = (home / ".ramp").glob("program-*.pyz")
    program.write_bytes(program.read_bytes()[:1000])
    with pytest.raises(TransportError):
        station.status("nobody", 0, ())


def test_a_station_that_wakes_up_when_another_has_taken_the_instance_changes_nothing_there(
    archive: BundleArchive, submission: Path, home: Path
) -> None:
    paused, other = quick(LocalConnection(home)), quick(LocalConnection(home))
    prepared = paused.prepare({"python": str(open_python())}, archive)
    paused.start(request("r1", prepared, submission))
    other.take()
    for change in (
        lambda: paused.status("r1", 0, ()),
        lambda: paused.end("r1"),
        lambda: paused.wipe(),
        lambda: paused.start(request("r2", prepared, submission)),
    ):
        with pytest.raises(TakenOverError, match="another dispatcher"):
            change()
    ended, _ = report_of_end(other, "r1")
    assert (ended.returncode, ended.done) == (0, (0, 1))
    assert other.wipe() is True
    with pytest.raises(TakenOverError):
        paused.wipe()  # not while it waits for the next submission either


@pytest.mark.parametrize(
    "told",
    [
        {"returncode": float("inf")},
        {"log": base64.b64encode(bytes(65 << 10)).decode()},
        {"done": [10**6]},
        {"done": [True]},
        {"killed_by": []},
    ],
)
def test_a_report_without_measure_is_refused(told: dict[str, Any]) -> None:
    honest = {"state": "ended", "returncode": 0, "killed_by": None, "reason": "", "log": ""}
    honest |= {"done": [0, 9999], "notice": None, "disk_is_full": False}
    assert answers.read_report(honest).done == (0, 9999)
    with pytest.raises(TransportError, match="makes no sense"):
        answers.read_report(honest | told)


@pytest.mark.parametrize(
    ("wanted", "has", "expected"),
    [(False, ["0"], ()), (0, [], ()), (1, ["0", "1"], ("0",)), (True, ["0", "1"], ("0", "1"))],
)
def test_a_submission_is_given_as_many_gpus_of_the_instance_as_are_asked_for(
    prepared: Prepared, wanted: bool | int, has: list[str], expected: tuple[str, ...]
) -> None:
    on_gpus = replace(prepared, facts={**prepared.facts, "gpus": has})
    assert on_gpus.gpus(wanted) == expected


@pytest.mark.parametrize(
    ("wanted", "has", "told"),
    [
        (True, [], "needs 1 GPU, and the instance has none"),
        (2, ["0"], "needs 2 GPUs, and the instance has 1"),
    ],
)
def test_an_instance_with_too_few_gpus_says_what_it_has(
    prepared: Prepared, wanted: bool | int, has: list[str], told: str
) -> None:
    on_gpus = replace(prepared, facts={**prepared.facts, "gpus": has})
    with pytest.raises(WorkerSetupError, match=told):
        on_gpus.gpus(wanted)
