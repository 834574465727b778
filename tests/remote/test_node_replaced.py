"""An agent that has outlived the engine's worker, which came again as another program."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ramp_engine
from ramp_engine.bundle_archive import store
from ramp_engine.remote.frames import Frame, receive
from ramp_engine.testing.scenarios import Scenario, estimator_source
from tests.remote.node_room import NodeRoom, end_agent, is_alive, wait_until

CALLER = """
import json, sys
from ramp_engine.remote.frames import Frame
from ramp_engine.remote.node.entry import ask, run_fold
request = Frame(json.loads(sys.argv[1]), sys.argv[2].encode())
if request.header["op"] != "fold":
    ask("node-1", request)
    sys.exit()
def say(frame):
    print(json.dumps(frame.header), flush=True)
run_fold("node-1", request, 1, say)
"""


class Other:
    """A worker process of an engine with another program than that of the tests."""

    def __init__(self, folder: Path, kind: str) -> None:
        self._python = sys.executable
        paths = sys.path
        if kind == "interpreter":
            venv.create(folder / "venv", symlinks=True)
            self._python = str(folder / "venv/bin/python")
        else:
            package = folder / "ramp_engine"
            shutil.copytree(ramp_engine.__path__[0], package)
            init = package / "__init__.py"
            init.write_text(init.read_text().replace(ramp_engine.__version__, "0.0.1"))
            paths = [str(folder), *sys.path]
        self._environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}

    @contextmanager
    def asking(self, request: Frame) -> Iterator[subprocess.Popen[str]]:
        command = [self._python, "-c", CALLER, json.dumps(request.header), request.payload.decode()]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd="/", env=self._environment
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.send_signal(signal.SIGKILL)


def test_an_agent_of_another_interpreter_gives_way(own_room: NodeRoom, tmp_path: Path) -> None:
    with Other(tmp_path, "interpreter").asking(own_room.request("renew")) as process:
        assert process.wait(60) == 0
    with own_room.place.connect(10.0) as channel:
        greeting = receive(channel)
    assert greeting is not None
    assert greeting.header["prefix"] == str(tmp_path / "venv")
    assert own_room.ask("renew") == {"jobs": []}
    assert not is_alive(greeting.header["pid"])
    with own_room.place.connect(10.0) as channel:
        greeting = receive(channel)
    assert greeting is not None
    assert greeting.header["prefix"] == sys.prefix


def test_an_agent_of_another_version_gives_way_when_its_folds_have_ended(
    own_room: NodeRoom, tmp_path: Path
) -> None:
    own_room.spec["bundle_store"] = str(own_room.archive.path.parent / "store")
    store(own_room.archive, own_room.spec["bundle_store"])
    request = own_room.fold_request("old", estimator_source(Scenario.HANGING))
    try:
        with Other(tmp_path, "version").asking(request) as process:
            assert process.stdout is not None
            assert json.loads(process.stdout.readline())["said"] == "started"
            refused = own_room.fold("early", Scenario.GOOD).end()
        assert (refused["how"], refused["kind"]) == ("refused", "busy")
        assert "another agent still runs folds there: ramp 0.0.1" in refused["message"]
        assert own_room.fold("later", Scenario.GOOD).end()["how"] == "done"
        assert own_room.ask("info")["facts"]["ramp"] == ramp_engine.__version__
    finally:
        end_agent(own_room.place)
        wait_until(lambda: not own_room.place.socket_path.exists(), "the end of the agent")
