"""A node runs folds for whoever asks, and ends them when nobody does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ramp_engine.bundle_archive import BundleArchive, store
from ramp_engine.errors import WorkerLostError
from ramp_engine.evaluation.supervise import descendants
from ramp_engine.testing.processes import processes_with
from ramp_engine.testing.scenarios import FAILURE, HEAD, TAIL, Scenario, estimator_source
from tests.remote.node_room import NodeRoom, is_alive, wait_until

ROOT = Path(__file__).parents[2]


def test_a_fold_comes_back_as_data_and_release_leaves_no_process(own_room: NodeRoom) -> None:
    first = own_room.fold("first", Scenario.GOOD)
    files = first.files()
    assert first.end()["how"] == "done"
    assert first.end()["returncode"] == 0
    assert first.said[:2] == ["needs", "started"]
    assert first.end()["result"]["folds"][0]["state"] == "tested"
    assert files["log"] == b"CV fold 0\ntrained\n"
    assert b"predicting the test data" in files["private.log"]
    assert files["output/state.txt"] == b"tested"
    assert {"output/y_pred_train.npz", "output/y_pred_test.npz"} <= files.keys()

    second = own_room.fold("second", Scenario.GOOD)
    assert second.end()["facts"]["is_warm"]
    assert "needs" not in second.said

    pid = own_room.agent_pid()
    assert own_room.ask("release")["is_ending"]
    wait_until(lambda: not is_alive(pid), "the end of the agent")
    assert processes_with(str(own_room.place.root)) == []
    assert list(own_room.place.runs.iterdir()) == []
    assert not own_room.place.socket_path.exists()


def test_a_failure_is_told_with_its_report(shared_room: NodeRoom) -> None:
    fold = shared_room.fold("failing", Scenario.FAILING)
    assert fold.end()["how"] == "done"
    assert fold.end()["returncode"] == 1
    assert FAILURE in fold.files()["output/error.txt"].decode()


def test_of_a_long_log_head_and_tail_come(shared_room: NodeRoom) -> None:
    fold = shared_room.fold("loud", Scenario.LARGE_LOG)
    log = fold.files()["log"].decode()
    assert HEAD in log[:100]
    assert TAIL in log[-100:]
    assert len(log) < 11 << 20
    assert 1 <= fold.said.count("log") <= 16, "at most 1 MiB is shown while it runs"


def test_a_cancel_ends_the_tree_within_two_seconds(shared_room: NodeRoom) -> None:
    fold = shared_room.fold("hanging", Scenario.HANGING)
    tree = fold.await_started()
    assert len(tree) >= 3
    begun_at = time.monotonic()
    assert shared_room.ask("cancel", jobs=["hanging", "unknown"]) == {"ended": ["hanging"]}
    seconds = time.monotonic() - begun_at
    assert not any(map(is_alive, tree))
    assert fold.end()["how"] == "canceled"
    assert seconds < 2.5  # of which one is the grace for its logs
    assert shared_room.fold("unknown", Scenario.GOOD).end()["how"] == "canceled", "it came too late"


def test_a_time_limit_ends_the_fold(shared_room: NodeRoom) -> None:
    fold = shared_room.fold("slow", Scenario.HANGING, timeout_seconds=1.0)
    assert fold.end()["how"] == "timeout"
    assert b"hanging" in fold.files()["log"]


CALLER = """
import json, sys
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.node.entry import run_fold
from tests.remote.node_room import NODE
request = Frame(json.loads(sys.argv[1]), sys.argv[2].encode())
def say(frame):
    print(json.dumps(frame.header | {"payload": frame.payload.decode()}), flush=True)
run_fold(NODE, request, 1, say)
"""


def test_a_fold_ends_with_its_caller_and_the_agent_that_it_started_lives_on(
    own_room: NodeRoom,
) -> None:
    own_room.spec["bundle_store"] = str(own_room.archive.path.parent / "store")
    store(own_room.archive, own_room.spec["bundle_store"])
    request = own_room.fold_request("orphan", estimator_source(Scenario.HANGING))
    command = [sys.executable, "-c", CALLER, json.dumps(request.header), request.payload.decode()]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT
    ) as caller:
        assert caller.stdout is not None
        try:
            supervisor = json.loads(caller.stdout.readline())["pid"]
            while "hanging" not in json.loads(caller.stdout.readline())["payload"]:
                pass  # and after that it says nothing more
            agent = own_room.agent_pid()
            tree = [supervisor, *descendants(supervisor)]
            assert is_alive(supervisor)
        finally:
            os.killpg(caller.pid, signal.SIGKILL)
    wait_until(lambda: not any(map(is_alive, tree)), "the end of the fold")
    wait_until(lambda: own_room.ask("renew")["jobs"] == [], "the end of the job")
    assert own_room.agent_pid() == agent


def test_a_fold_ends_with_its_agent_and_the_caller_is_told(own_room: NodeRoom) -> None:
    fold = own_room.fold("lost", Scenario.HANGING)
    tree = fold.await_started()
    os.kill(own_room.agent_pid(), signal.SIGKILL)
    with pytest.raises(WorkerLostError, match="agent of the node has died"):
        fold.end()
    wait_until(lambda: not any(map(is_alive, tree)), "the end of the fold")
    wait_until(lambda: processes_with(str(own_room.place.root)) == [], "the end of servers")
    assert own_room.fold("again", Scenario.GOOD).end()["how"] == "done", "a new agent was started"
    wait_until(lambda: not any(own_room.place.runs.iterdir()), "the end of all files of runs")


def test_a_lease_that_is_not_renewed_ends_its_folds_and_the_agent(own_room: NodeRoom) -> None:
    own_room.lease_seconds = 3.0
    fold = own_room.fold("lapsed", Scenario.HANGING)
    tree = fold.await_started()
    pid = own_room.agent_pid()
    assert own_room.ask("renew")["jobs"] == ["lapsed"]
    assert fold.end()["how"] == "lease"
    assert not any(map(is_alive, tree))
    wait_until(lambda: not is_alive(pid), "the end of the agent")


def test_of_many_starters_at_once_all_reach_the_same_agent(own_room: NodeRoom) -> None:
    pids: list[int] = []
    threads = [threading.Thread(target=lambda: pids.append(own_room.agent_pid())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(pids) == 6
    assert len(set(pids)) == 1
    assert processes_with(str(own_room.place.root)) == pids[:1], "and there is no other"


def test_names_that_lead_elsewhere_are_refused(shared_room: NodeRoom) -> None:
    for name in ("../outside", "/etc/outside", "a/../../outside", "."):
        fold = shared_room.fold(f"odd {name}", Scenario.GOOD, files=[[name, 3]])
        assert fold.end()["how"] == "refused"
        assert "makes no sense" in fold.end()["message"]


def test_an_environment_that_pip_cannot_make_is_refused_with_its_words(
    shared_room: NodeRoom,
) -> None:
    environment = {"requirements": "./no-such-folder\n"}
    spec = shared_room.spec | {"environment": environment}
    fold = shared_room.fold("no-environment", Scenario.GOOD, spec=spec)
    assert fold.end()["how"] == "refused"
    assert fold.end()["kind"] == "setup"
    assert "no-such-folder" in fold.end()["message"]
    facts = shared_room.ask("info", spec=spec)["facts"]
    assert "no-such-folder" in facts["environment_error"]


def test_a_folder_that_others_may_write_to_is_refused(
    archive: BundleArchive, tmp_path: Path
) -> None:
    room = NodeRoom(tmp_path, archive)
    room.place.home.mkdir()
    room.place.home.chmod(0o777)
    fold = room.fold("exposed", Scenario.GOOD)
    assert fold.end()["how"] == "refused"
    assert "node_dir" in fold.end()["message"]
    assert list(room.place.home.iterdir()) == []


def test_facts_name_versions_and_what_the_node_has(shared_room: NodeRoom) -> None:
    facts = shared_room.ask("info")["facts"]
    assert facts["packages"]["numpy"]
    assert facts["cpus"] >= 1
    assert facts["level"] in ("namespaces", "landlock", "none")
    assert "environment_error" not in facts
