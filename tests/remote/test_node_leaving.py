"""A node that is taken away: the fold is told, and what it saves goes with it."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ramp_engine.remote import parts
from ramp_engine.remote.node.checkpoint import CheckpointError, list_files, restore
from ramp_engine.testing.scenarios import Scenario
from tests.remote.node_room import NodeRoom, is_alive, wait_until

SAVING = """\
import os, signal, time
from pathlib import Path
import numpy as np

class Saving:
    def fit(self, X, y):
        folder = Path(os.environ["RAMP_CHECKPOINT_DIR"])
        before = folder / "deep" / "step"
        if before.exists():
            print("resumed from", before.read_text())
            before.write_text("mine again")
            return self
        def save(number, frame):
            (folder / "deep").mkdir()
            before.write_text("step 7")
            os.symlink("/etc/passwd", folder / "link")
            os.link(before, folder / "hard")
            (folder / "other").write_bytes(b"\\0" * 1000)
            os._exit(0)
        signal.signal(signal.SIGTERM, save)
        print("hanging", flush=True)
        while True:
            time.sleep(60)

    def predict_proba(self, X):
        return np.tile([0.25, 0.75], (len(X), 1))

def get_estimator():
    return Saving()
"""


@pytest.mark.parametrize("sandbox", ["auto", "off"])
def test_a_checkpoint_goes_out_and_comes_back(shared_room: NodeRoom, sandbox: str) -> None:
    spec = shared_room.spec | {"keys": {"sandbox": sandbox}}
    source = SAVING.replace('os.link(before, folder / "hard")', "")
    fold = shared_room.fold(f"leaving-{sandbox}", source, spec=spec)
    tree = fold.await_started()
    left = shared_room.ask("leave", jobs=None, reason="a drain", seconds=60)
    assert left == {"ended": [f"leaving-{sandbox}"]}
    assert not any(map(is_alive, tree))
    assert fold.end()["how"] == "reclaimed"
    saved = {
        name.removeprefix("checkpoint/"): data
        for name, data in fold.files().items()
        if name.startswith("checkpoint/")
    }
    assert saved == {"deep/step": b"step 7", "other": bytes(1000)}, "and no link"

    again = shared_room.fold(f"back-{sandbox}", source, spec=spec, checkpoint=saved)
    assert again.end()["how"] == "done"
    assert again.end()["returncode"] == 0, again.end()["result"]
    assert b"resumed from step 7" in again.files()["log"]


LEAKING = """\
import os, time
from pathlib import Path
import numpy as np

class Leaking:
    n_calls = 0
    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        self.n_calls += 1
        np.save(Path(os.environ["RAMP_CHECKPOINT_DIR"]) / f"seen_{self.n_calls}.npy", X)
        while self.n_calls > 1:
            time.sleep(60)
        return np.tile([0.25, 0.75], (len(X), 1))

def get_estimator():
    return Leaking()
"""


def test_what_a_fold_saves_once_it_can_read_the_test_data_never_comes_back_to_training(
    shared_room: NodeRoom,
) -> None:
    fold = shared_room.fold("leaking", LEAKING)
    runs = shared_room.place.runs
    wait_until(lambda: any(runs.glob("*/checkpoint/seen_2.npy")), "the test data in a checkpoint")
    assert shared_room.ask("leave", jobs=["leaking"], reason="a drain", seconds=0.5)["ended"]
    assert fold.end()["how"] == "reclaimed"
    assert "test data" in fold.end()["message"]
    assert not [name for name in fold.files() if name.startswith("checkpoint/")]


def test_a_fold_that_does_not_leave_is_ended_in_time(shared_room: NodeRoom) -> None:
    fold = shared_room.fold("stubborn", Scenario.HANGING)
    tree = fold.await_started()
    assert shared_room.ask("leave", jobs=["stubborn"], reason="a drain", seconds=0.5)["ended"]
    assert not any(map(is_alive, tree))
    assert fold.end()["how"] == "reclaimed"


def test_links_of_either_kind_are_not_saved_and_too_much_is_not_saved_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "checkpoint"
    restore({"a/b": memoryview(b"one")}, folder, None, None)
    (folder / "soft").symlink_to("/etc/passwd")
    (folder / "inside").symlink_to("a")
    os.mkfifo(folder / "pipe")
    assert list_files(folder) == {"a/b": folder / "a" / "b"}
    os.link(folder / "a" / "b", tmp_path / "elsewhere")
    assert list_files(folder) == {}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("x" * 250 + "/" + "/".join(["y" * 250] * 4), "too long"),
        (os.fsdecode(b"\xff"), "UTF-8"),
    ],
)
def test_names_that_do_not_travel_cost_the_checkpoint_and_not_the_fold(
    tmp_path: Path, name: str, why: str
) -> None:
    path = tmp_path / "checkpoint" / name
    path.parent.mkdir(parents=True)
    path.touch()
    with pytest.raises(CheckpointError, match=why):
        list_files(tmp_path / "checkpoint")


@pytest.fixture
def metadata() -> Iterator[dict[str, object]]:
    """An instance's metadata: a notice is there as soon as it is put into the dictionary."""
    state: dict[str, object] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def do_PUT(self) -> None:
            self._say(200, b"TOKEN")

        def do_GET(self) -> None:
            if self.headers.get("X-aws-ec2-metadata-token") != "TOKEN":
                self._say(401, b"")
            elif self.path.endswith("/spot/instance-action") and "notice" in state:
                self._say(200, json.dumps(state["notice"]).encode())
            else:
                self._say(404, b"")

        def _say(self, code: int, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        state["address"] = f"http://127.0.0.1:{server.server_port}"
        yield state
        server.shutdown()


def test_a_notice_of_the_instance_is_told_to_its_folds(
    own_room: NodeRoom, metadata: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAMP_INSTANCE_METADATA", str(metadata["address"]))
    fold = own_room.fold("noticed", Scenario.HANGING)
    fold.await_started()
    metadata["notice"] = {"action": "terminate", "time": "2026-01-01T00:00:00Z"}
    assert "terminate" in fold.await_said("leaving").header["reason"]
    own_room.ask("cancel", jobs=["noticed"])
    assert fold.end()["how"] == "canceled"


def test_names_of_parts_stay_inside() -> None:
    for name in ("..", "a/..", "/a", "", ".", "a//b", "a\0b", "./a"):
        with pytest.raises(parts.PartsError):
            parts.split([[name, 0]], b"")
    with pytest.raises(parts.PartsError, match="twice"):
        parts.split([["a", 0], ["a", 0]], b"")
    with pytest.raises(parts.PartsError, match="bytes"):
        parts.split([["a", 1]], b"")
