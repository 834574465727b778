"""What the core of a gateway asks of an engine that only notes it, by a clock of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import fsspec
import pytest

from ramp_engine.fold_process import FoldScratch
from ramp_engine.remote import parts
from ramp_engine.remote.engine import (
    Demands,
    Engine,
    Job,
    JobEnded,
    JobLost,
    JobSaid,
    Loss,
    Node,
    NodeLeaving,
)
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.gateway.clients import Client
from ramp_engine.remote.gateway.core import Core
from ramp_engine.remote.gateway.held_run import HeldRun
from ramp_engine.remote.gateway.nodes import Nodes
from ramp_engine.remote.gateway.requests import Requests
from ramp_engine.remote.gateway.run_files import RunFiles
from ramp_engine.remote.gateway.run_log import RunLog
from ramp_engine.remote.gateway.runs import Ended, Run
from ramp_engine.remote.gateway.timers import Loop
from ramp_engine.remote.gateway.uploads import Uploads
from ramp_engine.remote.gateway.versions import Versions
from ramp_engine.testing import ManualClock
from tests.remote.node_room import wait_until


class NotingEngine:
    """Says of nodes what it is told to, and notes the rest."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.withdrawn: list[str] = []
        self.asked: list[tuple[str, Frame]] = []
        self.facts: dict[str, dict[str, Any]] = {"n1": {"python": "3.11"}}
        self.answers: dict[str, Callable[[Frame], dict[str, Any]]] = {}
        self.hanging: set[str] = set()
        self.unanswered: list[Future[Frame]] = []
        self.n_slots: dict[str, int] = {}

    def nodes(self, demands: Demands) -> list[Node]:
        return [Node(name, name, *2 * [self.n_slots.get(name, 2)]) for name in self.facts]

    def submit(self, job: Job) -> None:
        self.jobs[job.name] = job

    def withdraw(self, name: str) -> None:
        self.withdrawn.append(name)

    def call(self, node: str, request: Frame) -> Future[Frame]:
        self.asked.append((node, request))
        answer: Future[Frame] = Future()
        if node in self.hanging:
            self.unanswered.append(answer)
        elif (op := request.header["op"]) in self.answers:
            answer.set_result(Frame(self.answers[op](request)))
        else:
            answer.set_result(Frame({"facts": self.facts.get(node, {})}))
        return answer

    def answer(self) -> None:
        """Have the nodes that hang go on."""
        self.hanging.clear()
        for answer in self.unanswered:
            answer.set_result(Frame({}))

    def ops(self, op: str) -> list[tuple[str, Any]]:
        found = [(node, request) for node, request in self.asked if request.header["op"] == op]
        return [(node, request.header.get("jobs")) for node, request in found]


class Room:
    """A core, and what is said to its client."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder, self.clock, self.engine = folder, ManualClock(), NotingEngine()
        self.said: list[dict[str, Any]] = []
        self.loop = Loop(self.clock)
        config = {"work_dir": str(folder), **config}
        requests = Requests(config, "lease")
        engine = cast("Engine", self.engine)
        versions = Versions("3.11", "1")
        self.nodes = Nodes(engine, requests, versions, self.loop.post, self.clock)
        store = config.get("bundle_store")
        packed = folder / "packed"
        self.uploads = Uploads(
            self.nodes, requests, packed, store, self.loop.post, store_seconds=0.1
        )
        self.core = Core(engine, requests, self.nodes, self.uploads, self.loop, config)
        self.nodes.on_change = self.core.shun
        self.bundle = folder / ("b" * 8) / "public"
        self.bundle.mkdir(parents=True)
        (self.bundle / "manifest.json").write_text("{}")
        (folder / "files").mkdir()

    def send(self, header: dict[str, Any]) -> None:
        self.said.append(header)

    def begin(
        self,
        name: str,
        n_folds: int,
        timeout_seconds: float | None = None,
        is_packed: bool = True,
        files: Callable[[FoldScratch, Path], RunFiles] = RunFiles,
    ) -> HeldRun:
        scratch = FoldScratch(self.folder / name, self.folder / name / "tmp")
        scratch.root.mkdir()
        numbers = list(range(n_folds))
        held = HeldRun(
            Run(name, numbers, timeout_seconds),
            files(scratch, self.folder / "files"),
            RunLog(scratch, numbers),
            self.bundle,
            cast("Client", self),
            "holder",
        )
        self.core.begin(held)
        wait_until(lambda: self.turn() and held.is_packed is is_packed, "the packed bundle")
        self.turn()
        return held

    def turn(self) -> bool:
        while self.loop.turn():
            pass
        return True

    def look(self) -> None:
        """Have the core know the nodes."""
        self.nodes.look()
        wait_until(lambda: self.turn() and bool(self.nodes.names), "nodes")

    def folds(self) -> list[int]:
        return [job.request.header["fold"] for job in self.engine.jobs.values()]

    def job(self, number: int) -> str:
        """The newest job of a fold."""
        jobs = self.engine.jobs.items()
        return [name for name, job in jobs if job.request.header["fold"] == number][-1]

    def start(self, number: int, node: str = "n1") -> None:
        said = Frame({"said": "started", "level": "namespaces"})
        self.core.handle(JobSaid(self.job(number), node, said))
        self.turn()

    def end(self, number: int, how: str = "done", state: str = "tested", **more: Any) -> None:
        files = {"output/state.txt": state.encode(), "log": b"fold %d\n" % number}
        names, payload = parts.join(files)
        result = {"folds": [{"fold": number, "state": state}]}
        code = int(state != "tested")
        header = {"said": "ended", "how": how, "returncode": code, "result": result, "parts": names}
        payload, node = more.pop("payload", payload), more.pop("node", "n1")
        self.core.handle(JobEnded(self.job(number), node, Frame(header | more, payload)))
        self.turn()

    def ended(self, name: str) -> dict[str, Any]:
        [end] = [said for said in self.said if said["run"] == name and said["said"] == "ended"]
        return end


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


def test_no_more_folds_are_in_flight_than_allowed_and_the_oldest_run_comes_first(
    tmp_path: Path,
) -> None:
    room = Room(tmp_path, max_folds=3)
    room.begin("a", 2)
    room.begin("b", 2)
    assert room.folds() == [0, 1, 0]
    room.end(1)
    assert room.folds() == [0, 1, 0, 1]
    assert len(room.engine.jobs) == 4


def test_time_counts_from_the_first_start_on_a_node(room: Room) -> None:
    room.begin("a", 2, timeout_seconds=100.0)
    room.clock.advance(1000.0)
    room.turn()
    room.start(0)
    room.clock.advance(60.0)
    room.start(1)
    room.clock.advance(39.0)
    room.turn()
    assert room.engine.ops("cancel") == []
    room.clock.advance(2.0)
    room.turn()
    assert room.engine.ops("cancel") == [("n1", [room.job(0), room.job(1)])]
    for number in (0, 1):
        room.end(number, "canceled")
    assert room.ended("a")["how"] == "timeout"


def test_a_failure_ends_the_folds_above_it(room: Room) -> None:
    held = room.begin("a", 3)
    room.start(1)
    room.start(2)
    room.end(1, state="training_error")
    assert room.engine.ops("cancel") == [("n1", [room.job(2)])]
    assert not held.is_told, "fold 0 has not ended"
    room.end(0)
    assert (room.ended("a")["how"], room.ended("a")["returncode"]) == ("done", 1)
    assert (room.folder / "a" / "log").read_bytes() == b"fold 0\nfold 1\n"
    room.end(2)
    assert not (room.folder / "a" / "output" / "fold_2").exists()


def test_what_has_not_begun_is_withdrawn(room: Room) -> None:
    held = room.begin("a", 2)
    room.start(0)
    gone: list[bool] = []
    room.core.call_off(held, lambda: gone.append(True))
    assert room.engine.withdrawn == [room.job(1)]
    assert room.engine.ops("cancel") == [("n1", [room.job(0)])]
    room.core.handle(JobLost(room.job(1), Loss.RECLAIMED, "withdrawn"))
    assert gone == []
    room.end(0, "canceled")
    assert gone == [True]
    assert room.core.n_runs == 0


def test_a_node_of_other_versions_that_came_later_gets_its_fold_ended(room: Room) -> None:
    room.begin("a", 1)
    room.engine.facts["n2"] = {"python": "3.9", "hostname": "old"}
    room.start(0, "n2")
    wait_until(lambda: room.turn() and bool(room.engine.ops("cancel")), "the end of the fold")
    misplaced = room.job(0)
    assert room.engine.ops("cancel") == [("n2", [misplaced])]
    room.end(0, "canceled", node="n2")
    words = b"n2 (old) does not go with this machine: Python is 3.9 there and 3.11"
    assert words in (room.folder / "a" / "log").read_bytes()
    assert room.job(0) != misplaced, "the fold is begun again"
    assert room.engine.jobs[room.job(0)].avoid == {"n2"}
    room.end(0)
    assert room.ended("a")["how"] == "done"


def test_a_node_that_leaves_is_asked_to_save_what_is_ours_and_only_once(room: Room) -> None:
    room.begin("a", 2)
    room.start(0)
    room.start(1, "n2")
    for _ in range(2):
        room.core.handle(NodeLeaving("n1", "drained"))
    assert room.engine.ops("leave") == [("n1", [room.job(0)])]
    room.end(0, "reclaimed")
    assert room.folds() == [0, 1, 0]
    assert b"fold 0 is begun again: drained" in (room.folder / "a" / "log").read_bytes()


def test_a_demand_that_no_node_meets_ends_the_run_with_the_reason(room: Room) -> None:
    room.look()
    room.begin("a", 2)
    for number in (0, 1):
        room.core.handle(JobLost(room.job(number), Loss.UNPLACED, "no node has 9 GPUs"))
    assert room.ended("a") | {"run": ""} == {
        "run": "",
        "said": "ended",
        "how": "lost",
        "returncode": 70,
        "message": "no node has 9 GPUs",
    }


def test_a_cluster_without_nodes_counts_for_nobody(room: Room) -> None:
    room.begin("a", 1)
    room.core.handle(JobLost(room.job(0), Loss.UNPLACED, "the cluster has no worker"))
    end = room.ended("a")
    assert (end["how"], end["message"]) == ("interrupted", "the cluster has no worker")


@pytest.mark.parametrize("n_bytes", [1, 2 << 20])
@pytest.mark.parametrize("is_reclaimed", [False, True])
def test_a_disk_here_that_refuses_interrupts_the_run(
    room: Room, is_reclaimed: bool, n_bytes: int
) -> None:
    room.begin("a", 3)
    room.end(0)
    room.start(2)
    in_the_way = room.folder / "a" / ("checkpoints" if is_reclaimed else "output")
    if in_the_way.exists():
        in_the_way.rename(room.folder / "done")
    in_the_way.write_text("a file where a folder has to be")
    left = {"checkpoint/step": bytes(n_bytes), "output/state.txt": b"tested"}
    names, payload = parts.join(left)
    room.end(1, "reclaimed" if is_reclaimed else "done", parts=names, payload=payload)
    wait_until(lambda: room.turn() and bool(room.engine.ops("cancel")), "the end of the others")
    assert room.engine.ops("cancel") == [("n1", [room.job(2)])]
    room.end(2, "canceled")
    end = room.ended("a")
    assert end["how"] == "interrupted"
    assert "cannot be kept" in end["message"]


class _OnASlowDisk(RunFiles):
    """Writes large files when it is told to."""

    is_free = threading.Event()

    def stage(self, fold: int, frame: Frame) -> None:
        self.is_free.wait()
        super().stage(fold, frame)


def test_a_slow_disk_here_delays_nothing_but_what_is_written(room: Room) -> None:
    held = room.begin("a", 3, files=_OnASlowDisk)
    room.start(0)
    room.start(1)
    names, payload = parts.join({"output/state.txt": b"tested", "output/large": bytes(2 << 20)})
    try:
        room.end(0, parts=names, payload=payload)
        room.core.renew()
        assert [node for node, _ in room.engine.ops("renew")] == ["n1"]
        room.end(1)
        assert held.run.folds[1].verdict is not None, "others are taken meanwhile"
        room.core.call_off(held, how=Ended.TIMEOUT)
        assert room.engine.withdrawn == [room.job(2)]
        room.core.handle(JobLost(room.job(2), Loss.RECLAIMED, "withdrawn"))
        assert not held.is_told
    finally:
        _OnASlowDisk.is_free.set()
    wait_until(lambda: room.turn() and held.is_told, "the end")
    assert {path.name for path in held.files.scratch.output.iterdir()} == {"fold_1"}


def test_large_outputs_are_there_before_the_fold_is_told(room: Room) -> None:
    held = room.begin("a", 1)
    large = bytes(range(256)) * (1 << 13)
    files = {"output/state.txt": b"tested", "output/y_pred_train.npz": large}
    names, payload = parts.join(files)
    room.end(0, parts=names, payload=payload)
    wait_until(lambda: room.turn() and held.is_told, "the end")
    assert [said["said"] for said in room.said] == ["fold", "ended"]
    output = held.files.scratch.output
    assert [path.name for path in output.iterdir()] == ["fold_0"]
    assert (output / "fold_0" / "y_pred_train.npz").read_bytes() == large


def test_a_result_that_cannot_be_written_is_not_the_fault_of_the_code(room: Room) -> None:
    room.begin("a", 1)
    (room.folder / "a" / "result.json").mkdir()
    room.end(0)
    assert room.ended("a")["how"] == "interrupted"


NONSENSE: list[dict[str, Any]] = [
    {"parts": [["../../x", 1]]},
    {"parts": [["output/\ud800", 0]], "payload": b""},
    {"parts": 7},
    {"returncode": []},
    {"returncode": float("inf")},
]


@pytest.mark.parametrize("said", NONSENSE, ids=str)
def test_an_answer_that_makes_no_sense_costs_the_fold_only(
    room: Room, said: dict[str, Any]
) -> None:
    room.begin("a", 2)
    room.end(0, **said)
    room.end(1)
    assert room.ended("a")["how"] in ("lost", "done")
    assert not (room.folder / "x").exists()


def test_a_result_that_makes_no_sense_ends_no_gateway(room: Room) -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    room.begin("a", 1)
    room.end(0, result={"folds": [{"fold": 0, "state": "tested", "x": nested}]})
    assert room.ended("a")["how"] == "done"


@pytest.mark.parametrize("offset", [None, "x", []], ids=str)
def test_a_log_that_makes_no_sense_ends_its_fold_and_no_gateway(room: Room, offset: Any) -> None:
    room.begin("a", 1)
    room.core.handle(JobSaid(room.job(0), "n1", Frame({"said": "log", "offset": offset}, b"x")))
    assert room.engine.ops("cancel") == [("n1", [room.job(0)])]
    room.end(0, "canceled")
    assert "makes no sense" in room.ended("a")["message"]


def test_only_outputs_of_known_names_are_kept(room: Room) -> None:
    room.begin("a", 1)
    names, payload = parts.join({"output/state.txt": b"tested", "output/evil.py": b"x"})
    room.end(0, parts=names, payload=payload)
    assert [path.name for path in (room.folder / "a" / "output" / "fold_0").iterdir()] == [
        "state.txt"
    ]


@pytest.mark.parametrize("facts", [7, {}, {"packages": 7}], ids=str)
def test_a_node_that_tells_nonsense_of_itself_gets_no_folds(room: Room, facts: Any) -> None:
    room.engine.facts["n1"] = facts
    room.look()
    wait_until(lambda: room.turn() and room.nodes.is_complete, "its answer")
    assert "n1 tells nonsense" in str(room.nodes.fault("n1"))


def _upload(room: Room, haves: list[int]) -> list[int]:
    """Have a bundle brought to a node that says so much has come; give the offsets of the parts."""
    offsets: list[int] = []

    def take(request: Frame) -> dict[str, Any]:
        offsets.append(request.header["offset"])
        return {"have": haves[min(len(offsets), len(haves)) - 1]}

    room.look()
    room.engine.answers["bundle"] = take
    held = room.begin("a", 1)
    said = Frame({"said": "needs"})
    room.core.handle(JobSaid(room.job(0), "n1", said))
    assert held.is_packed
    for _ in range(100):
        room.turn()
    return offsets


def test_an_upload_of_which_nothing_comes_is_given_up(room: Room) -> None:
    assert 3 <= len(_upload(room, [0])) < 20


def test_an_upload_that_comes_slowly_goes_on(room: Room) -> None:
    haves = [10 * n for n in range(60)]
    assert _upload(room, haves)[:60] == [0, *haves[:59]]


class HangingStore(fsspec.AbstractFileSystem):  # type: ignore[misc]
    """A store that answers when it is told to."""

    protocol = "hanging"
    is_over = threading.Event()

    def exists(self, path: str, **_: Any) -> bool:
        self.is_over.wait()
        raise OSError("it is over")


@pytest.fixture
def hanging_store() -> Iterator[str]:
    fsspec.register_implementation("hanging", HangingStore, clobber=True)
    yield "hanging://store"
    HangingStore.is_over.set()


def test_a_store_that_hangs_is_told_and_counts_for_nobody(
    hanging_store: str, tmp_path: Path
) -> None:
    room = Room(tmp_path, bundle_store=hanging_store)
    held = room.begin("a", 1, is_packed=False)
    wait_until(lambda: room.turn() and held.is_told, "the end")
    end = room.ended("a")
    assert end["how"] == "interrupted"
    assert "has not taken the bundle in" in end["message"]


def test_all_folds_share_the_files_of_their_submission(room: Room) -> None:
    (room.folder / "files" / "estimator.py").write_bytes(b"x" * 1000)
    room.begin("a", 3)
    assert len({id(job.request.payload) for job in room.engine.jobs.values()}) == 1


def test_a_store_that_is_away_counts_for_nobody(room: Room) -> None:
    (room.folder / "packed").write_text("no folder")
    held = room.begin("a", 1, is_packed=False)
    wait_until(lambda: room.turn() and held.is_told, "the end")
    assert room.ended("a")["how"] == "interrupted"


def test_a_node_without_room_is_tried_again_later(room: Room) -> None:
    room.begin("a", 1)
    room.end(0, "refused", kind="disk", message="the disk of the node is full")
    assert room.folds() == [0]
    room.clock.advance(31.0)
    room.turn()
    assert room.folds() == [0, 0]


def test_leases_are_renewed_where_there_may_be_folds(room: Room) -> None:
    room.nodes.look()
    wait_until(lambda: room.turn() and room.nodes.is_complete and bool(room.nodes.names), "nodes")
    room.core.renew()
    assert room.engine.ops("renew") == []
    room.begin("a", 1)
    room.core.renew()
    assert [node for node, _ in room.engine.ops("renew")] == ["n1"]


@pytest.fixture
def pair(tmp_path: Path) -> Room:
    """A room with two nodes, which have told of themselves."""
    room = Room(tmp_path, lease_seconds=20)
    room.engine.facts["n2"] = {"python": "3.11"}
    room.look()
    wait_until(lambda: room.turn() and room.nodes.is_complete, "their answers")
    return room


def _pass(room: Room, seconds: int) -> None:
    """Let time pass, and renew leases meanwhile."""
    for _ in range(seconds // 5):
        room.clock.advance(5.0)
        room.core.renew()
        room.turn()


def test_folds_on_a_node_that_hangs_are_lost_when_their_lease_has_run_out(pair: Room) -> None:
    pair.begin("a", 2)
    pair.start(0, "n1")
    pair.start(1, "n2")
    late = pair.job(0)
    pair.engine.hanging.add("n1")
    _pass(pair, 25)
    held = pair.core.find("a")
    assert held is not None
    assert held.run.folds[0].is_open, "the lease may not have run out"
    _pass(pair, 10)
    pair.end(1)
    end = pair.ended("a")
    assert end["how"] == "lost"
    assert "fold 0: node n1 has not answered for 25 s" in end["message"]
    names, payload = parts.join({"output/state.txt": b"tested"})
    said = {"said": "ended", "how": "done", "returncode": 0, "parts": names}
    pair.core.handle(JobEnded(late, "n1", Frame(said, payload)))
    assert not (pair.folder / "a" / "output" / "fold_0").exists(), "it came too late"


def test_a_node_that_hangs_gets_no_folds_until_it_answers(pair: Room) -> None:
    pair.begin("a", 1)
    pair.start(0, "n1")
    late = pair.job(0)
    pair.engine.hanging.add("n1")
    _pass(pair, 35)
    assert pair.engine.ops("renew") == [("n1", None)], "one question at a time"
    pair.begin("b", 1)
    assert pair.engine.jobs[pair.job(0)].avoid == {"n1"}
    pair.engine.answer()
    _pass(pair, 5)
    assert pair.engine.ops("cancel") == [("n1", [late])]
    pair.begin("c", 1)
    assert pair.engine.jobs[pair.job(0)].avoid == frozenset()


def test_folds_wait_where_all_nodes_hang(room: Room) -> None:
    room.look()
    room.begin("a", 1)
    room.start(0)
    room.engine.hanging.add("n1")
    _pass(room, 90)
    held = room.begin("b", 1)
    assert held.run.has_waiting
    room.engine.answer()
    room.turn()
    assert not held.run.has_waiting


def test_a_gateway_that_was_stopped_holds_that_against_no_node(pair: Room) -> None:
    pair.begin("a", 1)
    pair.start(0, "n1")
    pair.engine.hanging.add("n1")
    _pass(pair, 5)
    pair.clock.advance(1000.0)
    _pass(pair, 20)
    pair.engine.answer()
    pair.turn()
    pair.end(0)
    assert pair.ended("a")["how"] == "done"


def test_a_node_that_no_fold_fits_on_is_left_alone_until_one_does(room: Room) -> None:
    room.engine.facts["head"] = {"python": "3.9"}
    room.engine.n_slots["head"] = 0
    room.look()
    held = room.begin("a", 1)
    room.uploads.warm(held.archive)
    room.core.renew()  # the fold may begin anywhere
    room.turn()
    assert room.nodes.is_complete
    assert [room.engine.ops(op) for op in ("info", "warm", "renew")] == 3 * [[("n1", None)]]
    room.engine.n_slots["head"] = 1
    room.look()
    wait_until(lambda: room.turn() and bool(room.nodes.fault("head")), "what is wrong with it")


def test_servers_are_started_on_nodes_that_had_no_bundle_yet(room: Room) -> None:
    room.engine.answers = {
        "warm": lambda _frame: {"needs": True},
        "bundle": lambda _frame: {"done": True},
    }
    room.look()
    room.uploads.warm(room.begin("a", 1).archive)
    wait_until(lambda: room.turn() and len(room.engine.ops("warm")) > 1, "the second time")
    asked = [request.header["op"] for _, request in room.engine.asked]
    assert asked == ["info", "warm", "bundle", "warm"]


def test_a_loop_that_was_run_for_a_while_goes_on_later_for_as_long_as_it_is_needed() -> None:
    clock = ManualClock()
    loop = Loop(clock)
    loop.post(loop.end)
    loop.run(180.0)
    clock.advance(1000.0)
    done: list[str] = []
    loop.post(lambda: done.append("first"))
    loop.post(lambda: done.append("second"))
    loop.post(loop.end)
    loop.run()
    assert done == ["first", "second"]
    loop.run(0.0)
